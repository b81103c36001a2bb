//! The way of a request through the file server, in one place.

use std::sync::Arc;

use polyport_sdk::Context;
use polyport_sdk::accounts::Action;
use polyport_sdk::files::{ClientPath, Error, Jail, Metadata};
use polyport_sdk::http::{Caller, Handler, Method, Problem, Request, Response, StatusCode, header};
use polyport_sdk::metrics::Number;
use tokio::sync::Semaphore;

use crate::archive::{self, Format};
use crate::blocking::blocking;
use crate::config::Config;
use crate::file;
use crate::listing::{Listing, View};
use crate::target::{Target, folder_link};
use crate::upload::Receiver;

const METHODS: &str = "GET, HEAD, OPTIONS, PUT, POST";
const READING: &str = "GET, HEAD, OPTIONS";

/// A folder that is served.
#[derive(Debug)]
pub struct Site {
    config: Config,
    context: Context,
    jail: Jail,
    archives: Arc<Semaphore>,
    requests: Number,
    uploads: Number,
}

impl Site {
    /// Serves what is in the jail.
    pub fn new(config: Config, context: Context, jail: Jail) -> Self {
        Self {
            archives: Arc::new(Semaphore::new(archive::AT_ONCE)),
            requests: context.metrics().counter("requests"),
            uploads: context.metrics().counter("uploads"),
            config,
            context,
            jail,
        }
    }

    /// `GET` and `HEAD`.
    async fn read(
        &self,
        request: &Request,
        caller: &Caller,
        target: &Target,
    ) -> Result<Response, Problem> {
        let name = target.name();
        // Who may do neither does not get to know what is there.
        if !caller.allows(Action::Read, &name) && !caller.allows(Action::List, &name) {
            return Err(caller.refusal());
        }
        match self.open(&target.path).await {
            Ok(_) if target.as_folder => Err(Problem::not_found()),
            Ok((opened, metadata)) => {
                caller.require(Action::Read, &name)?;
                file::respond(request, &target.path, opened, &metadata)
            }
            Err(Error::IsADirectory) => self.read_folder(request, caller, target).await,
            Err(error) => Err(error.into()),
        }
    }

    /// A folder is its index, an archive, or a listing.
    async fn read_folder(
        &self,
        request: &Request,
        caller: &Caller,
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
            return self.archive(request, caller, target, format);
        }
        if request.query_value("format").is_none()
            && let Some(response) = self.index(request, caller, target).await?
        {
            return Ok(response);
        }
        if !self.config.listing {
            return Err(Problem::new(StatusCode::FORBIDDEN).detail("this folder is not listed"));
        }
        caller.require(Action::List, &name)?;
        self.list(request, caller, target).await
    }

    async fn index(
        &self,
        request: &Request,
        caller: &Caller,
        target: &Target,
    ) -> Result<Option<Response>, Problem> {
        for index in &self.config.index {
            let path = target.path.child(index.as_ref())?;
            match self.open(&path).await {
                Ok((opened, metadata)) => {
                    caller.require(Action::Read, &path.to_target())?;
                    return file::respond(request, &path, opened, &metadata).map(Some);
                }
                Err(error) if error.is_not_found() => {}
                Err(Error::IsADirectory) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn list(
        &self,
        request: &Request,
        caller: &Caller,
        target: &Target,
    ) -> Result<Response, Problem> {
        let name = target.name();
        let mut view = View::of(request)?;
        let may_upload =
            caller.allows(Action::Create, &name) || caller.allows(Action::Write, &name);
        view.upload = self.config.upload && may_upload;
        view.login = self.config.upload && !caller.is_named();
        view.archive = self.config.archive && caller.allows(Action::Read, &name);
        let (jail, path, caller, hidden) = (
            self.jail.clone(),
            target.path.clone(),
            caller.clone(),
            self.config.hidden,
        );
        let listing = blocking(move || {
            let folder = path.clone();
            Listing::read(&jail, &path, view, |entry| {
                (hidden || !entry.is_hidden())
                    && folder.child(&entry.name).is_ok_and(|path| {
                        let name = path.to_target();
                        caller.allows(Action::List, &name) || caller.allows(Action::Read, &name)
                    })
            })
            .map(|listing| listing.respond())
        });
        Ok(listing.await??)
    }

    fn archive(
        &self,
        request: &Request,
        caller: &Caller,
        target: &Target,
        format: Format,
    ) -> Result<Response, Problem> {
        let (caller, hidden) = (caller.clone(), self.config.hidden);
        let filter = Box::new(move |path: &ClientPath, is_dir: bool| {
            let action = if is_dir { Action::List } else { Action::Read };
            (hidden || !path.is_hidden()) && caller.allows(action, &path.to_target())
        });
        archive::respond(
            format,
            &self.jail,
            &target.path,
            filter,
            &self.archives,
            request.is_head(),
        )
    }

    /// From the cache of names at once; on a blocking thread where the disk may have to be asked.
    async fn open(&self, path: &ClientPath) -> Result<(std::fs::File, Metadata), Error> {
        if let Some(opened) = self.jail.open_file_cached(path) {
            return Ok(opened);
        }
        let (jail, path) = (self.jail.clone(), path.clone());
        tokio::task::spawn_blocking(move || jail.open_file(&path))
            .await
            .map_err(|panic| Error::Io(std::io::Error::other(panic)))?
    }

    /// Where a form's files go: the folder it was sent to, or as miniserve has it,
    /// `/upload?path=/the/folder`.
    fn form_target(&self, request: &Request, target: Target) -> Result<Target, Problem> {
        match request.query_value("path") {
            Some(path) if target.path.as_relative().as_os_str() == "upload" => {
                Target::parse(path.as_bytes(), self.config.hidden)
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
        let target = Target::of(&request, self.config.hidden)?;
        let caller =
            Caller::identify(&request, self.context.accounts(), &self.config.realm).await?;
        let upload = self.config.upload;
        let receiver = Receiver {
            jail: &self.jail,
            caller: &caller,
            hidden: self.config.hidden,
            received: self.uploads,
        };
        let response = match request.method {
            Method::GET | Method::HEAD => self.read(&request, &caller, &target).await?,
            Method::PUT if upload => receiver.put(request, target).await?,
            Method::POST if upload => {
                let target = self.form_target(&request, target)?;
                receiver.post(request, target).await?
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
