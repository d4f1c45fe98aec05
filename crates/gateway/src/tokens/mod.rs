//! Tokens for callers: where they come from, and how they stay fresh.
//!
//! A [`TokenSource`] brings one token: a [`Login`] of a person, a job's identity at [`GitHub`] or in a variable as
//! GitLab gives it ([`Variable`]), a [`TokenFile`] that Kubernetes keeps fresh, [`ClientCredentials`] of a program, or
//! the [`Exchange`] of any of them. [`Fresh`] keeps the token of a source and renews it before it ends, once for all
//! who wait.
//!
//! [`Login::make`] is the device authorization of RFC 8628: how a person gets the login that [`Keep`] keeps.

mod assertion;
mod authority;
mod client_credentials;
mod device;
mod exchange;
mod fresh;
mod github;
mod http;
mod keep;
mod login;
mod private_file;
mod sources;
mod token;

pub use self::{
    authority::{Authority, Client},
    client_credentials::ClientCredentials,
    device::Prompt,
    exchange::Exchange,
    fresh::{Fresh, PATIENCE, PAUSE},
    github::GitHub,
    http::Http,
    keep::Keep,
    login::Login,
    sources::{login, source},
    token::{InvalidToken, SourceError, Token, TokenFile, TokenSource, Variable},
};
pub(crate) use self::{
    private_file::{create_or_read, folder},
    sources::authorities,
};
