//! One TOML file, read strictly and checked whole before anything starts.
//!
//! `raw` is what was typed, [`Settings`] is what it means: every name resolved, every secret read, every end a real
//! instant. All mistakes are reported at once, each with its line and column.

mod approvers;
mod check;
mod client;
mod crew;
mod diagnostic;
mod exchange;
mod export;
mod inputs;
mod issuer;
mod login;
mod mask;
mod notify;
mod operation;
mod raw;
mod read;
mod record;
mod role;
mod settings;
mod store;
mod units;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    check::{is_safe, name},
    client::DEFAULT_PROFILE,
};
pub use self::{
    client::{ClientSettings, KeepIn, Source},
    crew::{CrewSettings, Observe, ReleaseRule, SharedKeySettings},
    diagnostic::{ConfigError, Diagnostic},
    exchange::{EventSettings, ExchangeSettings},
    login::LoginSettings,
    mask::MaskSettings,
    notify::{ChatSettings, MailSettings, MailTls, NotifySettings, NotifyTo, Occasion, WebhookSettings},
    settings::{
        ApprovalSettings, ApproverSettings, BreakGlassSettings, EscalationSettings, ExportSettings, ExportTo,
        GatewaySettings, HttpSink, IssuerSettings, LimitSettings, ListenSettings, LogFormat, ObjectPlace,
        ObjectsSink, PersonSettings, Reach, RetentionSettings, RoleRequestSettings, RoleSettings, Settings,
        SyslogSink, TelemetrySettings, TlsSettings, WitnessSettings,
    },
    units::Secret,
};
