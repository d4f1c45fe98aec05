//! Logs, traces and metrics.

use std::{io::IsTerminal as _, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::{
    global,
    metrics::{Counter, Gauge, Histogram, Meter},
    propagation::{Extractor, Injector},
    trace::TracerProvider,
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::SdkTracerProvider,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    client::Client,
    config::{LogFormat, TelemetrySettings},
};

/// What must be flushed at the end, and the registry behind `/metrics`.
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    registry: prometheus::Registry,
}

impl Telemetry {
    /// Sets up logs on stderr, and traces and metrics over OTLP/HTTP where a collector is configured. Metrics are
    /// always there for `/metrics`.
    ///
    /// # Errors
    ///
    /// What could not be set up, in words.
    pub fn start(settings: &TelemetrySettings) -> Result<Self, String> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let resource = Resource::builder().with_service_name("crewgate").build();
        let registry = prometheus::Registry::new();
        let pull = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .build()
            .map_err(|error| format!("metrics: {error}"))?;
        let mut metrics = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(pull);
        // Without a collector too there are traces: what the caller began goes on to CrewAI.
        let mut traces = SdkTracerProvider::builder().with_resource(resource);
        if let Some(otlp) = &settings.otlp {
            let collector = Collector::new()?;
            let base = otlp.to_string();
            let base = base.trim_end_matches('/');
            let spans = opentelemetry_otlp::SpanExporter::builder()
                .with_http()
                .with_http_client(collector.clone())
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}/v1/traces"))
                .build()
                .map_err(|error| format!("traces: {error}"))?;
            traces = traces.with_batch_exporter(spans);
            let push = opentelemetry_otlp::MetricExporter::builder()
                .with_http()
                .with_http_client(collector.clone())
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}/v1/metrics"))
                .build()
                .map_err(|error| format!("metrics: {error}"))?;
            metrics = metrics.with_reader(PeriodicReader::builder(push).build());
        }
        let (metrics, traces) = (metrics.build(), traces.build());
        global::set_meter_provider(metrics.clone());
        let filter =
            EnvFilter::try_new(&settings.level).map_err(|error| format!("telemetry.level: {error}"))?;
        let lines = match settings.format {
            LogFormat::Human => {
                let colours = std::io::stderr().is_terminal();
                tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
            }
            LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
        };
        // Our own spans alone: what HTTP libraries say about themselves at finer levels can hold headers.
        let ours = Targets::new().with_target("crewgate", LevelFilter::INFO);
        let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer("crewgate")).with_filter(ours);
        Registry::default()
            .with(spans)
            .with(lines.with_filter(filter))
            .try_init()
            .map_err(|error| format!("logs: {error}"))?;
        Ok(Self { traces, metrics, registry })
    }

    /// The current metrics in the Prometheus text format.
    ///
    /// # Errors
    ///
    /// What could not be encoded.
    pub fn scrape(registry: &prometheus::Registry) -> Result<String, String> {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).map_err(|error| error.to_string())
    }

    /// The registry behind [`Telemetry::scrape`].
    #[must_use]
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Hands over what is still buffered. Blocks; call it when serving has ended.
    pub fn finish(self) {
        let _ = self.traces.shutdown();
        let _ = self.metrics.shutdown();
    }
}

/// The way to the collector. The exporters work on threads of their own; the request runs on our runtime.
#[derive(Debug, Clone)]
struct Collector {
    client: Client,
    runtime: tokio::runtime::Handle,
}

/// Time the collector may take.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer of the collector that is read; it says next to nothing.
const MAX_COLLECTOR_ANSWER: usize = 1 << 20;

impl Collector {
    fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| format!("telemetry: {error}"))?;
        Ok(Self { client: crate::client::build(None)?, runtime })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_COLLECTOR_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // The timer too is made inside: this future is polled where there is no runtime.
        self.runtime.spawn(async move { tokio::time::timeout(COLLECTOR_TIMEOUT, exchange).await }).await??
    }
}

/// Seconds; the HTTP semantic conventions' own advice.
const BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The instruments of the data plane.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// Calls by crew, action and status.
    pub calls: Counter<u64>,
    /// Time to the answer's head, in seconds.
    pub latency: Histogram<f64>,
    /// Calls refused before the record, by address limit.
    pub limited: Counter<u64>,
    /// Connections turned away because there are too many.
    pub crowded: Counter<u64>,
    /// Reloads of rules and configuration, by outcome.
    pub policy_reloads: Counter<u64>,
    /// 1 while what is on the disk is refused and older rules decide.
    pub policy_stale: Gauge<u64>,
    /// Questions to the shadow policy, by outcome.
    pub shadow: Counter<u64>,
}

impl Instruments {
    /// The instruments of the global meter.
    #[must_use]
    pub fn new() -> Self {
        let meter: Meter = global::meter("crewgate");
        Self {
            calls: meter.u64_counter("crewgate.calls").with_description("Calls answered").build(),
            latency: meter
                .f64_histogram("crewgate.call.duration")
                .with_unit("s")
                .with_boundaries(BOUNDARIES.to_vec())
                .build(),
            limited: meter
                .u64_counter("crewgate.calls.limited")
                .with_description("Calls over the per-address limit")
                .build(),
            crowded: meter.u64_counter("crewgate.connections.refused").build(),
            policy_reloads: meter.u64_counter("crewgate.policy.reloads").build(),
            policy_stale: meter.u64_gauge("crewgate.policy.stale").build(),
            shadow: meter.u64_counter("crewgate.policy.shadow").build(),
        }
    }
}

impl Default for Instruments {
    fn default() -> Self {
        Self::new()
    }
}

/// The span of a call, continuing the caller's trace when it sent one.
pub(crate) fn span<B>(request: &Request<B>) -> Span {
    let parent =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(request.headers())));
    let span = tracing::info_span!("call", method = %request.method(), path = request.uri().path(), status = tracing::field::Empty);
    // Fails only where no OpenTelemetry layer listens; then there is no trace to continue.
    let _ = span.set_parent(parent);
    span
}

/// Passes the trace on (W3C Trace Context).
pub(crate) fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeadersMut(headers))
    });
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
