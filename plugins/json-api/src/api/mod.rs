//! The HTTP API (RFC 9110): a path names the root, a collection or a document, and each method on
//! each of them has a file here.
//!
//! The order is the same everywhere: path, method, who it is, rights, header fields, body, store.
//! Nothing is read of a body before its sender may write, and nothing tells whether a document
//! exists before its asker may know.

mod aside;
mod conditional;
mod cors;
mod delete;
mod get;
mod list_collections;
mod list_documents;
mod media_type;
mod options;
mod page;
mod patch;
mod post;
mod problem;
mod put;
mod query;
mod representation;
mod target;
mod uuid;

use std::sync::Arc;

use polyport_sdk::Context;
use polyport_sdk::http::{Caller, Handler, Method, Problem, Request, Response, header};

use tokio::sync::RwLockReadGuard;

use crate::config::Config;
use crate::keeper::Keeper;
use crate::store::Store;
use cors::Cors;
use patch::Turns;
use target::Target;

/// The methods that some path knows.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Answers requests about one store.
pub struct Api {
    keeper: Arc<Keeper>,
    config: Config,
    context: Context,
    turns: Arc<Turns>,
}

impl Api {
    /// The API of a store.
    pub fn new(keeper: Arc<Keeper>, config: Config, context: Context) -> Self {
        Self {
            keeper,
            config,
            context,
            turns: Arc::default(),
        }
    }

    /// The same with other settings.
    pub fn with(&self, config: Config) -> Self {
        Self {
            keeper: Arc::clone(&self.keeper),
            config,
            context: self.context.clone(),
            turns: Arc::clone(&self.turns),
        }
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store, for one read or change.
    async fn store(&self) -> Result<RwLockReadGuard<'_, Store>, Problem> {
        let store = self.keeper.store().await;
        store.map_err(|error| problem::of_store(&error, &self.context))
    }

    async fn answer(&self, request: &mut Request, cors: &Cors) -> Result<Response, Problem> {
        let target = Target::read(request, &self.config)?;
        if request.method == Method::OPTIONS {
            return Ok(options::options(request, &target, cors));
        }
        let method = allowed(request, &target)?;
        let caller =
            Caller::identify(request, self.context.accounts(), &self.config.http.realm).await?;
        match (method, &target) {
            (Method::POST, Target::Collection(collection)) => {
                post::post(self, &caller, request, collection).await
            }
            (Method::PUT, Target::Document(name)) => put::put(self, &caller, request, name).await,
            (Method::PATCH, Target::Document(name)) => {
                patch::patch(self, &caller, request, name).await
            }
            (Method::DELETE, Target::Document(name)) => {
                delete::delete(self, &caller, request, name).await
            }
            (_, Target::Document(name)) => get::get(self, &caller, request, name).await,
            (_, Target::Collection(name)) => {
                list_documents::list(self, &caller, request, name).await
            }
            (_, Target::Root) => list_collections::list(self, &caller, request).await,
        }
    }
}

impl Handler for Api {
    fn methods(&self) -> &str {
        METHODS
    }

    async fn handle(&self, mut request: Request) -> Result<Response, Problem> {
        let cors = Cors::new(&request, &self.config.cors_origins);
        let answer = self.answer(&mut request, &cors).await;
        let fields = cors.fields();
        match answer {
            Ok(response) => {
                let response = response.header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
                Ok(fields.fold(response, |response, (name, value)| match name {
                    header::VARY => representation::vary(response, &value),
                    name => response.header_text(name, &value),
                }))
            }
            Err(problem) => {
                let problem = if problem.is_elsewhere() {
                    problem.with_request(request).await
                } else {
                    problem
                };
                let problem = problem.header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
                Err(fields.fold(problem, |problem, (name, value)| {
                    problem.header_text(name, &value)
                }))
            }
        }
    }
}

/// The request's method, if the target knows it.
fn allowed(request: &Request, target: &Target) -> Result<Method, Problem> {
    let method = request.method.clone();
    if target
        .methods()
        .split(", ")
        .any(|known| known == method.as_str())
    {
        return Ok(method);
    }
    let text = format!(
        "expected {} for {}, got {method}",
        target.methods(),
        target.kind()
    );
    Err(Problem::method_not_allowed(target.methods()).detail(text))
}
