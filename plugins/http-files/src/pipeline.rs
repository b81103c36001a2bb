//! The way of a request through the file server, in one place.

use std::sync::Arc;

use polyport_sdk::Context;
use polyport_sdk::accounts::Action;
use polyport_sdk::files::{ClientPath, Error, Metadata, Tree, View};
use polyport_sdk::http::{Caller, Handler, Method, Problem, Request, Response, StatusCode, header};
use polyport_sdk::metrics::Number;
use tokio::sync::Semaphore;

use crate::archive::{self, Format};
use crate::blocking::blocking;
use crate::config::Config;
use crate::file;
use crate::listing::{self, Listing};
use crate::target::{Target, folder_link};
use crate::upload::Receiver;

const METHODS: &str = "GET, HEAD, OPTIONS, PUT, POST";
const READING: &str = "GET, HEAD, OPTIONS";

/// The folders that are served.
#[derive(Debug)]
pub struct Site {
    config: Config,
    context: Context,
    tree: Tree,
    archives: Arc<Semaphore>,
    requests: Number,
    uploads: Number,
}

impl Site {
    /// Serves what is in the tree.
    pub fn new(config: Config, context: Context, tree: Tree) -> Self {
        Self {
            archives: Arc::new(Semaphore::new(archive::AT_ONCE)),
            requests: context.metrics().counter("requests"),
            uploads: context.metrics().counter("uploads"),
            config,
            context,
            tree,
        }
    }

    /// The same with other settings.
    pub fn with(&self, config: Config) -> Self {
        let same = config.policy() == self.config.policy();
        Self {
            // One that is kept has its folders open.
            tree: if same {
                self.tree.clone()
            } else {
                self.tree.with_policy(config.policy())
            },
            archives: Arc::clone(&self.archives),
            requests: self.requests,
            uploads: self.uploads,
            context: self.context.clone(),
            config,
        }
    }

    /// `GET` and `HEAD`.
    async fn read(
        &self,
        request: &Request,
        caller: &Caller,
        view: &View,
        target: &Target,
    ) -> Result<Response, Problem> {
        match open(view, &target.path).await {
            Ok(_) if target.as_folder => Err(Problem::not_found()),
            Ok((opened, metadata)) => file::respond(request, &target.path, opened, &metadata),
            Err(Error::IsADirectory) => self.read_folder(request, caller, view, target).await,
            Err(error) => Err(caller.problem(error)),
        }
    }

    /// A folder is its index, an archive, or a listing.
    async fn read_folder(
        &self,
        request: &Request,
        caller: &Caller,
        view: &View,
        target: &Target,
    ) -> Result<Response, Problem> {
        let name = target.name();
        if !target.as_folder {
            let query = request
                .uri
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default();
            let location = format!("{}{query}", folder_link(&target.path));
            return Ok(Response::redirect(StatusCode::MOVED_PERMANENTLY, &location));
        }
        if request.query().any(|(name, _)| name == "login") {
            return if caller.is_named() {
                Ok(Response::redirect(
                    StatusCode::SEE_OTHER,
                    &folder_link(&target.path),
                ))
            } else {
                Err(caller.refusal())
            };
        }
        if let Some(format) = Format::of(request)? {
            if !self.config.archive {
                return Err(
                    Problem::new(StatusCode::FORBIDDEN).detail("archives are not made here")
                );
            }
            caller.require(Action::List, &name)?;
            caller.require(Action::Read, &name)?;
            return archive::respond(
                format,
                view,
                &target.path,
                &self.archives,
                request.is_head(),
            );
        }
        if request.query_value("format").is_none()
            && let Some(response) = self.index(request, caller, view, &target.path).await?
        {
            return Ok(response);
        }
        if !self.config.listing {
            return Err(Problem::new(StatusCode::FORBIDDEN).detail("this folder is not listed"));
        }
        caller.require(Action::List, &name)?;
        self.list(request, caller, view, target).await
    }

    async fn index(
        &self,
        request: &Request,
        caller: &Caller,
        view: &View,
        folder: &ClientPath,
    ) -> Result<Option<Response>, Problem> {
        for index in &self.config.index {
            let path = folder.child(index.as_ref())?;
            match open(view, &path).await {
                Ok((opened, metadata)) => {
                    return file::respond(request, &path, opened, &metadata).map(Some);
                }
                Err(error) if error.is_not_found() => {}
                Err(Error::IsADirectory) => {}
                // Whether there is one was not even looked at.
                Err(Error::Forbidden) if !view.allows(Action::List, &path) => {}
                Err(error) => return Err(caller.problem(error)),
            }
        }
        Ok(None)
    }

    async fn list(
        &self,
        request: &Request,
        caller: &Caller,
        view: &View,
        target: &Target,
    ) -> Result<Response, Problem> {
        let name = target.name();
        let mut shown = listing::View::of(request)?;
        let may_upload =
            caller.allows(Action::Create, &name) || caller.allows(Action::Write, &name);
        shown.upload = self.config.upload && may_upload;
        shown.login = self.config.upload && !caller.is_named();
        shown.archive = self.config.archive && caller.allows(Action::Read, &name);
        let (view, path) = (view.clone(), target.path.clone());
        let listing = blocking(move || {
            let entries = view.read_dir(&path)?;
            Listing::read(entries, &path, shown).map(|listing| listing.respond())
        });
        listing.await?.map_err(|error| caller.problem(error))
    }

    /// Where a form's files go: the folder it was sent to, or as miniserve has it,
    /// `/upload?path=/the/folder`.
    fn form_target(&self, request: &Request, target: Target) -> Result<Target, Problem> {
        match request.query_value("path") {
            Some(path) if target.path.as_relative().as_os_str() == "upload" => {
                Target::parse(path.as_bytes())
            }
            _ => Ok(target),
        }
    }
}

impl Handler for Site {
    fn methods(&self) -> &str {
        if self.config.upload { METHODS } else { READING }
    }

    async fn handle(&self, request: Request) -> Result<Response, Problem> {
        self.requests.add(1);
        let target = Target::of(&request)?;
        let caller =
            Caller::identify(&request, self.context.accounts(), &self.config.http.realm).await?;
        // Who has no account may do nothing.
        let view = || match caller.account() {
            Some(account) => Ok(self.tree.view(account)),
            None => Err(caller.refusal()),
        };
        let receiver = |view| Receiver {
            view,
            caller: &caller,
            received: self.uploads,
        };
        let upload = self.config.upload;
        let response = match request.method {
            Method::GET | Method::HEAD => self.read(&request, &caller, &view()?, &target).await?,
            Method::PUT if upload => receiver(view()?).put(request, target).await?,
            Method::POST if upload => {
                let target = self.form_target(&request, target)?;
                receiver(view()?).post(request, target).await?
            }
            Method::OPTIONS => {
                Response::new(StatusCode::NO_CONTENT).header_text(header::ALLOW, self.methods())
            }
            _ => return Err(Problem::method_not_allowed(self.methods())),
        };
        // Uploads come from anybody with the right: no browser is to guess them into pages.
        Ok(response.header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
    }
}

/// From the cache of names at once; on a blocking thread where the disk may have to be asked.
async fn open(view: &View, path: &ClientPath) -> Result<(std::fs::File, Metadata), Error> {
    if let Some(opened) = view.open_file_cached(path) {
        return Ok(opened);
    }
    let (view, path) = (view.clone(), path.clone());
    tokio::task::spawn_blocking(move || view.open_file(&path))
        .await
        .map_err(|panic| Error::Io(std::io::Error::other(panic)))?
}
