//! Object stores: the log as the files of a `tlog-tiles` folder, and its events as Parquet. Nothing that is there is ever
//! written over but the checkpoint.

use std::{
    fmt,
    pin::Pin,
    time::{Duration, Instant},
};

use crewgate_audit::{bundle_files, tile_files, tlog::TILE};
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::BodyExt as _;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    path::Path,
};

use super::{Batch, Sink, parquet};
use crate::{
    client::{self, Client, chain},
    config::{ObjectPlace, ObjectsSink},
};

/// How long leaves wait for their tile to be full: after it, what is there of it is written.
const WAIT: Duration = Duration::from_secs(60);

/// How long a call that failed is tried again before the export waits and starts anew.
const RETRY: Duration = Duration::from_secs(10);

pub(super) struct Objects {
    store: Box<dyn ObjectStore>,
    prefix: String,
    /// When part of a tile was written.
    written: Option<Instant>,
}

impl Objects {
    pub(super) fn new(to: &ObjectsSink) -> Result<Self, String> {
        let store = store(to).map_err(|error| chain(&error))?;
        Ok(Self { store, prefix: to.prefix.clone(), written: None })
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    async fn write(&self, batch: &Batch<'_>) -> Result<(), String> {
        let unreadable = |error: crewgate_audit::AuditError| error.to_string();
        let n = (batch.end - 1) / TILE;
        let mut leaves = batch.log.bundle(n).await.map_err(unreadable)?;
        leaves.retain(|leaf| leaf.index < batch.end);
        let width = usize::try_from(batch.end - n * TILE).map_err(|error| error.to_string())?;
        // Signed is what a transaction ended with: the end of a full tile may not be.
        let signed = batch.log.checkpoints(batch.end - 1, 1).await.map_err(unreadable)?;
        let signed = signed.into_iter().find(|(size, _)| *size == batch.end);
        for (name, bytes) in bundle_files(n, width, &leaves, false).map_err(unreadable)? {
            self.keep(&name, bytes).await?;
        }
        for (name, bytes) in tile_files(batch.log, n * TILE, batch.end).await.map_err(unreadable)? {
            // Part of a tile is only of use under a checkpoint.
            if signed.is_some() || !name.contains(".p/") {
                self.keep(&name, bytes).await?;
            }
        }
        if let (Some(first), Some(last)) = (batch.events.first(), batch.events.last()) {
            let name = format!("parquet/{:012}-{:012}.parquet", first.leaf, last.leaf);
            self.keep(&name, parquet::file(batch.events)?).await?;
        }
        // Last: what it signs is there.
        if let Some((_, note)) = signed {
            let (path, note) = (self.path("checkpoint"), PutPayload::from(note.into_bytes()));
            self.store.put(&path, note).await.map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    /// Writes an object once. It may be there already, from a time when the answer was lost, and must then say the same.
    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        let (path, once) = (self.path(name), PutOptions::from(PutMode::Create));
        match self.store.put_opts(&path, PutPayload::from(bytes.clone()), once).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => {
                let there = self.store.get(&path).await.map_err(|error| chain(&error))?;
                let there = there.bytes().await.map_err(|error| chain(&error))?;
                if there == bytes {
                    return Ok(());
                }
                Err(format!("`{path}` is there and says something else: another record is kept there"))
            }
            Err(error) => Err(chain(&error)),
        }
    }
}

impl Sink for Objects {
    fn takes(&self, batch: &Batch<'_>) -> bool {
        batch.end.is_multiple_of(TILE) || self.written.is_none_or(|at| at.elapsed() >= WAIT)
    }

    fn hand_over<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), String>> {
        async move {
            self.write(batch).await?;
            if !batch.end.is_multiple_of(TILE) {
                self.written = Some(Instant::now());
            }
            Ok(())
        }
        .boxed()
    }
}

fn store(to: &ObjectsSink) -> Result<Box<dyn ObjectStore>, Error> {
    let connector = || Connector { ca: to.ca.clone() };
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRY };
    Ok(match &to.place {
        ObjectPlace::Local(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::Generic { store: "local", source: error.into() })?;
            Box::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true))
        }
        ObjectPlace::S3 { bucket, region, endpoint, key } => {
            // Without a key, what the environment of a machine in the cloud says.
            let builder = match key {
                Some((id, secret)) => {
                    AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose())
                }
                None => AmazonS3Builder::from_env(),
            };
            let builder = builder.with_region(region).with_bucket_name(bucket);
            let builder = match endpoint {
                Some(endpoint) => builder
                    .with_endpoint(endpoint.to_string().trim_end_matches('/'))
                    .with_allow_http(endpoint.scheme_str() == Some("http")),
                None => builder,
            };
            Box::new(builder.with_retry(retry).with_http_connector(connector()).build()?)
        }
        ObjectPlace::Gcs { bucket, key } => {
            let builder = match key {
                Some(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key.expose()),
                None => GoogleCloudStorageBuilder::from_env(),
            };
            let builder = builder.with_bucket_name(bucket).with_retry(retry);
            Box::new(builder.with_http_connector(connector()).build()?)
        }
        ObjectPlace::Azure { account, container, key, endpoint } => {
            let builder = match key {
                Some(key) => MicrosoftAzureBuilder::new().with_access_key(key.expose()),
                None => MicrosoftAzureBuilder::from_env(),
            };
            let builder = builder.with_account(account).with_container_name(container).with_retry(retry);
            let builder = match endpoint {
                Some(endpoint) => builder
                    .with_endpoint(endpoint.to_string().trim_end_matches('/').to_owned())
                    .with_allow_http(endpoint.scheme_str() == Some("http")),
                None => builder,
            };
            Box::new(builder.with_http_connector(connector()).build()?)
        }
    })
}

/// Hands the store's calls to the client everything else here uses.
#[derive(Debug)]
struct Connector {
    ca: Option<Vec<u8>>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, Error> {
        let wrong = |error: String| Error::Generic { store: "http", source: error.into() };
        Ok(HttpClient::new(Calls(client::build(self.ca.as_deref()).map_err(wrong)?)))
    }
}

struct Calls(Client<HttpRequestBody>);

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}

impl HttpService for Calls {
    // As `async_trait` writes it.
    fn call<'a, 'async_trait>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let answer = self.0.request(request).await.map_err(|error| {
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
                HttpError::new(kind, error)
            })?;
            let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, error);
            Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))))
        })
    }
}
