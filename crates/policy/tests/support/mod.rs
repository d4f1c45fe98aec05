//! A caller, an operation and a body that comes in pieces.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use crewgate_core::{
    Action, Effect, Message, Operation, Principal, PrincipalKey, PrincipalKind, Resource, Timestamp,
    TokenFacts,
};
use http_body::{Body, Frame};

pub(crate) fn alice() -> Principal {
    Principal {
        key: PrincipalKey::new("okta", "alice"),
        kind: PrincipalKind::User,
        groups: Default::default(),
        client: None,
        token: TokenFacts {
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(3600),
            fingerprint: "00".to_owned(),
            mfa: false,
            sender_constrained: false,
            authenticated: None,
            class: None,
            actors: Vec::new(),
            exchanged: None,
        },
        human: None,
    }
}

pub(crate) fn operation(action: &'static str) -> Operation {
    Operation {
        action: Action::of(action),
        resource: Resource { kind: "Crew".into(), name: "support".to_owned(), parents: Vec::new() },
        effect: Effect::Write,
        inputs: Vec::new(),
        datasets: vec!["tickets".to_owned()],
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 0,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: http::Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

/// A body that gives these pieces, without saying how many.
#[derive(Debug, Default)]
pub(crate) struct Pieces(pub(crate) Vec<Result<Frame<Bytes>, Broken>>);

/// The connection went away.
#[derive(Debug)]
pub(crate) struct Broken;

impl Pieces {
    pub(crate) fn of(pieces: &[&str]) -> Self {
        Self(pieces.iter().map(|text| Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))).collect())
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self(vec![Ok(Frame::data(bytes))])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.0.is_empty() { Poll::Ready(None) } else { Poll::Ready(Some(self.0.remove(0))) }
    }
}

/// The error of a service that has none.
pub(crate) type Never = Infallible;
