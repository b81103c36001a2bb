//! `POST` of the form that listings show, as miniserve takes it too.

use polyport_sdk::files::{ClientPath, Error, Replace, Upload};
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};
use serde::Serialize;

use super::form::{Event, Form, boundary};
use super::sink::Sink;
use super::{Receiver, origin};
use crate::blocking::blocking;
use crate::target::{Target, folder_link};

/// One file that was received.
#[derive(Serialize)]
struct Received {
    name: String,
    size: u64,
}

impl Receiver<'_> {
    /// Receives the files of a form into a folder. Each is there as soon as its part is complete;
    /// what comes after a fault is not.
    ///
    /// # Errors
    /// As for `PUT`, and 415 for what is no form, 400 for one that is broken.
    pub async fn post(self, mut request: Request, target: Target) -> Result<Response, Problem> {
        origin::check(&request)?;
        let Some(boundary) = request.header(header::CONTENT_TYPE).and_then(boundary) else {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .detail("expected multipart/form-data with a boundary"));
        };
        let (view, place) = (self.view.clone(), target.path.child("x".as_ref())?);
        match blocking(move || view.before_upload(&place)).await? {
            Err(Error::NotADirectory) => {
                return Err(
                    Problem::new(StatusCode::CONFLICT).detail("expected a folder, got a file")
                );
            }
            found => found.map_err(|error| self.caller.problem(error))?,
        };

        let mut form = Form::new(&boundary);
        let mut received = Vec::new();
        let mut current: Option<(String, Sink)> = None;
        while let Some(piece) = request.body.next().await.transpose()? {
            form.feed(&piece);
            while let Some(event) = form.next_event().map_err(Problem::bad_request)? {
                match event {
                    Event::Begin {
                        file_name: Some(name),
                        ..
                    } if !name.is_empty() => {
                        let upload = self.begin(&target.path, &name).await?;
                        current = Some((name, Sink::new(upload)));
                    }
                    Event::Begin { .. } => {}
                    Event::Data(bytes) => {
                        if let Some((_, sink)) = &mut current {
                            sink.write(&bytes).await?;
                        }
                    }
                    Event::End => {
                        if let Some((name, sink)) = current.take() {
                            let size = sink.len();
                            sink.commit().await?;
                            received.push(Received { name, size });
                            self.received.add(1);
                        }
                    }
                }
            }
        }
        if !form.is_complete() {
            return Err(Problem::bad_request(
                "the form ends before its last boundary",
            ));
        }
        if received.is_empty() {
            return Err(Problem::bad_request(
                "expected a file in the form, got none",
            ));
        }
        Ok(answer(&request, &target.path, &received))
    }

    async fn begin(&self, folder: &ClientPath, name: &str) -> Result<Upload, Problem> {
        let path = folder.child(name.as_ref())?;
        // A name is one component: neither "a/b" nor "..".
        if path.parent() != *folder || path.file_name() != Some(name.as_ref()) {
            return Err(Problem::bad_request(format!(
                "expected a file name, got {name:?}"
            )));
        }
        let view = self.view.clone();
        blocking(move || view.upload(&path, Replace::Allowed))
            .await?
            .map_err(|error| self.caller.problem(error))
    }
}

/// Browsers go back to the folder, programs read what was received.
fn answer(request: &Request, folder: &ClientPath, received: &[Received]) -> Response {
    if request
        .header_list(header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/html"))
    {
        return Response::redirect(StatusCode::SEE_OTHER, &folder_link(folder));
    }
    let mut text = serde_json::json!({ "files": received }).to_string();
    text.push('\n');
    Response::new(StatusCode::CREATED)
        .header_text(header::LOCATION, &folder_link(folder))
        .content("application/json", text)
}
