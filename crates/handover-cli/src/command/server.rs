//! The server that `handover demo` upgrades: a service as anybody would write it with the library.

use crate::args::{Behaviour, DemoServerArgs};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::say;
use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use std::time::Duration;

/// How long a slow answer takes: longer than an upgrade, so that some are under way in each.
const SLOW: Duration = Duration::from_millis(300);

pub(super) async fn serve(args: DemoServerArgs) -> Result<ExitCode, CliError> {
    let version = args.version_name;
    match args.behaviour {
        Behaviour::Serve => {}
        Behaviour::Crash => {
            say(&format!(
                "version {version}: no column `email` in table `users`"
            ));
            return Ok(ExitCode::Unexpected);
        }
        Behaviour::Never => {
            say(&format!(
                "version {version}: waiting for a database that is not there"
            ));
            std::future::pending::<()>().await;
        }
    }
    let header = HeaderValue::from_str(&version)
        .map_err(|_| CliError::Server(format!("version `{version}` is no header value")))?;
    let version = move |mut answer: Response| {
        answer.headers_mut().insert("x-version", header.clone());
        std::future::ready(answer)
    };
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/slow", get(slow))
        .layer(map_response(version));
    let failed = |error: &dyn std::error::Error| CliError::Server(error.to_string());
    let instance = handover::Instance::start("demo").await;
    let instance = instance.map_err(|error| failed(&error))?;
    let listener = instance.tcp("http", "127.0.0.1:0").await;
    let listener = listener.map_err(|error| failed(&error))?;
    instance.ready().await.map_err(|error| failed(&error))?;
    axum::serve(listener, app.layer(instance.reconnect_layer()))
        .with_graceful_shutdown(instance.draining())
        .await
        .map_err(|error| failed(&error))?;
    Ok(ExitCode::Done)
}

async fn slow() -> &'static str {
    tokio::time::sleep(SLOW).await;
    "slow hello\n"
}
