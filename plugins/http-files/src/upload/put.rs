//! `PUT` of a file (RFC 9110, 9.3.4).

use polyport_sdk::files::{Error, Replace};
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};

use super::Receiver;
use super::sink::Sink;
use crate::blocking::blocking;
use crate::conditional::{Conditions, Verdict};
use crate::target::{Target, link};
use crate::validators::Validators;

impl Receiver<'_> {
    /// Receives a file.
    ///
    /// # Errors
    /// 401 and 403 without the right, 409 where the folder is missing or the name is a folder's, 412
    /// for a condition that does not hold, 413 for too large a body, 507 for a full disk.
    pub async fn put(self, mut request: Request, target: Target) -> Result<Response, Problem> {
        let Self {
            view,
            caller,
            received,
        } = self;
        if target.as_folder {
            return Err(Problem::bad_request(
                "expected the path of a file, got that of a folder",
            ));
        }
        // RFC 9110, 14.5: a part of a file must not be taken for the whole.
        if request.headers.contains_key(header::CONTENT_RANGE) {
            return Err(Problem::bad_request(
                "expected a whole file, got Content-Range",
            ));
        }
        let (found, path) = (view.clone(), target.path.clone());
        let current = match blocking(move || found.before_upload(&path)).await? {
            // A missing folder in between, or one that is a file.
            Err(Error::NotADirectory) => return Err(no_folder()),
            found => found.map_err(|error| caller.problem(error))?,
        };
        let conditions = Conditions::of(&request);
        if conditions.weigh(current.as_ref().map(Validators::of).as_ref(), false) == Verdict::Failed
        {
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED));
        }
        let replace = match conditions.wants_new() {
            true => Replace::Forbidden,
            false => Replace::Allowed,
        };
        let path = target.path.clone();
        let upload = match blocking(move || view.upload(&path, replace)).await? {
            Err(Error::NotFound | Error::NotADirectory) => return Err(no_folder()),
            upload => upload.map_err(|error| caller.problem(error))?,
        };
        let mut sink = Sink::new(upload);
        while let Some(piece) = request.body.next().await.transpose()? {
            sink.write(&piece).await?;
        }
        let validators = Validators::of(&sink.commit().await?);
        received.add(1);
        let response = if current.is_some() {
            Response::new(StatusCode::NO_CONTENT)
        } else {
            Response::new(StatusCode::CREATED).header_text(header::LOCATION, &link(&target.path))
        };
        Ok(validators.add_to(response))
    }
}

fn no_folder() -> Problem {
    Problem::new(StatusCode::CONFLICT).detail("the folder is not there")
}
