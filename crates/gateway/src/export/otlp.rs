//! OTLP logs over HTTP, in OTLP's JSON spelling.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::{Batch, Event, Sink, post::Post};
use crate::config::HttpSink;

pub(super) struct Otlp(Post);

impl Otlp {
    pub(super) fn new(to: &HttpSink) -> Result<Self, String> {
        Post::new(to, "/v1/logs").map(Self)
    }
}

impl Sink for Otlp {
    fn hand_over<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), String>> {
        let events = batch.events;
        let body = logs(events).to_string().into_bytes();
        async move { taken(&self.0.send("application/json", body).await?) }.boxed()
    }
}

/// A collector that takes a part says so in an answer of 200.
fn taken(answer: &Bytes) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedLogRecords");
    // An int64 is a string in OTLP's JSON.
    let rejected = rejected.and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok())).unwrap_or(0);
    if rejected == 0 { Ok(()) } else { Err(format!("it rejects {rejected} of them")) }
}

fn logs(events: &[Event]) -> Value {
    let attribute = |name: &str, value: &str| json!({ "key": name, "value": { "stringValue": value } });
    let records: Vec<Value> = events.iter().map(record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            attribute("service.name", "crewgate"), attribute("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeLogs": [{ "scope": { "name": "crewgate.record" }, "logRecords": records }],
    }] })
}

fn record(event: &Event) -> Value {
    let nanos = i128::from(event.time.as_micros()).saturating_mul(1000).max(0).to_string();
    let (severity, name) = if event.is_refusal() { (13, "WARN") } else { (9, "INFO") };
    let members = match serde_json::to_value(event) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let attributes: Vec<Value> = members
        .iter()
        .map(|(key, value)| json!({ "key": format!("crewgate.{key}"), "value": any_value(value) }))
        .collect();
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": name,
        "eventName": format!("crewgate.{}", event.phase),
        "body": { "stringValue": event.summary() },
        "attributes": attributes,
    })
}

/// A value as OTLP's `AnyValue`.
fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(value) if value.is_f64() => json!({ "doubleValue": value }),
        Value::Number(value) => json!({ "intValue": value.to_string() }),
        Value::String(value) => json!({ "stringValue": value }),
        Value::Array(values) => {
            json!({ "arrayValue": { "values": values.iter().map(any_value).collect::<Vec<_>>() } })
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) }));
            json!({ "kvlistValue": { "values": members.collect::<Vec<_>>() } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::event::tests::leaf;

    #[tokio::test]
    async fn a_leaf_is_a_log_record_with_typed_attributes() {
        let logs = logs(&[Event::of(&leaf().await)]);
        let record = logs.pointer("/resourceLogs/0/scopeLogs/0/logRecords/0").unwrap();
        let at = |name: &str| record.get(name).cloned().unwrap_or_default();
        assert_eq!(at("timeUnixNano"), json!("1781524800000000000"));
        assert_eq!((at("severityText"), at("eventName")), (json!("WARN"), json!("crewgate.refused")));
        let attributes = at("attributes");
        let has = |key: &str, value: Value| {
            let wanted = json!({ "key": key, "value": value });
            assert!(attributes.as_array().unwrap().contains(&wanted), "{wanted}: {attributes:#}");
        };
        has("crewgate.status", json!({ "intValue": "403" }));
        has("crewgate.action", json!({ "stringValue": "kickoff" }));
    }

    #[test]
    fn a_part_that_is_rejected_is_not_acknowledged() {
        let said = |text: &'static str| taken(&Bytes::from_static(text.as_bytes()));
        assert_eq!((said(""), said("{}"), said("{\"partialSuccess\":{}}")), (Ok(()), Ok(()), Ok(())));
        assert!(said("{\"partialSuccess\":{\"rejectedLogRecords\":\"3\"}}").is_err());
        assert!(said("{\"partialSuccess\":{\"rejectedLogRecords\":1}}").is_err());
    }
}
