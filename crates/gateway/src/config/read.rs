//! From what was typed to what it means.

use std::{collections::BTreeSet, num::NonZeroUsize, time::Duration};

use crewgate_cedar::Zone;
use crewgate_core::Timestamp;

use super::{
    approvers,
    check::{Checker, name, url},
    crew, exchange, export,
    issuer::issuer,
    login, mask, notify, operation, raw, record, role,
    settings::{
        ApprovalSettings, GatewaySettings, IssuerSettings, LimitSettings, ListenSettings, LogFormat,
        PersonSettings, Settings, TelemetrySettings, TlsSettings,
    },
    store,
    units::{address, duration, rate},
};

pub(super) fn settings(check: &mut Checker<'_>, raw: &raw::File, now: Timestamp) -> Option<Settings> {
    check.unique("issuer", raw.issuers.iter().map(|issuer| &issuer.name));
    check.unique("issuer URL", raw.issuers.iter().map(|issuer| &issuer.url));
    check.unique("crew", raw.crews.iter().map(|crew| &crew.name));
    let issuers: Vec<_> = raw.issuers.iter().filter_map(|raw| issuer(check, raw)).collect();
    let (roles, nesting) = role::roles(check, &raw.roles, &raw.approvers, &issuers);
    let role_names: BTreeSet<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    let masks = mask::masks(check, raw, &role_names);
    let crews: Vec<_> =
        raw.crews.iter().filter_map(|raw| crew::crew(check, raw, &masks.profiles, now)).collect();
    operation::agree(check, &raw.crews, &crews);
    let approval = approval(check, &raw.approval);
    let approvers = approvers::approvers(check, &raw.approvers, &role_names, approval.expires);
    let break_glass = raw.break_glass.as_ref();
    let break_glass = break_glass.map(|raw| approvers::break_glass(check, raw, &role_names, &approvers));
    let record_readers = known_roles(check, &raw.record.readers, &role_names);
    let record_erasers = known_roles(check, &raw.record.erasers, &role_names);
    let revokers = known_roles(check, &raw.revocation.roles, &role_names);
    let exchanged = match &raw.exchange {
        Some(raw) => exchange::exchange(check, raw, &issuers),
        None => None,
    };
    let events = raw.events.iter().filter_map(|raw| exchange::events(check, raw, &issuers)).collect();
    let mut identities = BTreeSet::new();
    let persons =
        raw.persons.iter().filter_map(|raw| person(check, raw, &issuers, &mut identities)).collect();
    let beside = check.beside();
    let policy = beside.join(raw.policy.path.get_ref());
    if !policy.is_dir() {
        check.wrong(raw.policy.path.span(), format!("`{}` is not a folder", policy.display()), None);
    }
    let policy_tests = check.parse_or(raw.policy.tests.as_ref(), false, |text| match text {
        "on-load" => Ok(true),
        "on-demand" => Ok(false),
        _ => Err(format!("`{text}` is neither `on-load` nor `on-demand`")),
    });
    let policy_zone = check.parse_or(raw.policy.zone.as_ref(), Zone::default(), |text| {
        Zone::named(text).ok_or_else(|| format!("`{text}` is no time zone: name one like `Europe/Berlin`"))
    });
    // Whether it can be read is found out later: a second set must not keep the first from deciding.
    let shadow = raw.policy.shadow.as_ref().map(|path| beside.join(path.get_ref()));
    let record_keys = record::keys(check, &raw.record);
    let store = store::location(check, &raw.store, raw.record.seal_key.is_some());
    let witnesses = record::witnesses(check, &raw.record);
    let retention = record::retention(check, &raw.record.retention);
    let exports = export::exports(check, &raw.exports);
    let gateway = gateway(check, &raw.gateway);
    if let (Some(gateway), Some(held)) = (&gateway, &raw.approval.held)
        && approval.held.get() >= gateway.limits.max_calls.min(gateway.limits.max_connections)
    {
        let help = "raise `gateway.max_calls` and `gateway.max_connections`: nobody else would be answered";
        check.wrong(held.span(), "more calls would be held than there may be", Some(help));
    }
    if let (Some(gateway), Some(crew)) = (&gateway, raw.crews.iter().find(|crew| crew.human_input))
        && gateway.public_url.is_none()
        && !gateway.listen.address.ip().is_loopback()
    {
        let help = "give `gateway.public_url`: the address at which CrewAI reaches this gateway";
        check.wrong(crew.name.span(), "a crew with `human_input` calls the gateway back", Some(help));
    }
    // What is told to token clients must be an address they can reach.
    if let (Some(gateway), Some(raw)) = (&gateway, &raw.exchange)
        && gateway.public_url.is_none()
        && !gateway.listen.address.ip().is_loopback()
    {
        let help = "give `gateway.public_url`: it is the issuer and the audience of exchanged tokens";
        check.wrong(raw.issuers.span(), "tokens are exchanged at the public address", Some(help));
    }
    if let Some(gateway) = &gateway {
        for (crew, raw) in crews
            .iter()
            .filter_map(|crew| Some((crew, raw.crews.iter().find(|raw| *raw.name.get_ref() == crew.name)?)))
        {
            if crew.hold.unwrap_or_default() + crew.timeout >= gateway.limits.request_timeout {
                let help = "a call would be cut off while it is under way: raise `gateway.request_timeout`";
                let text = "`hold` and `timeout` together must be below `gateway.request_timeout`";
                check.wrong(raw.name.span(), text, Some(help));
            }
        }
    }
    let console = match &raw.console {
        Some(console) => {
            Some(listener(check, &console.listen, console.tls.as_ref(), console.dangerously_plain_http)?)
        }
        None => None,
    };
    let login = raw.console.as_ref().and_then(|console| login::login(check, console, &issuers));
    let ops = match &raw.ops {
        Some(ops) => Some(check.parse(&ops.listen, address)?),
        None => None,
    };
    let notify = notify::notify(check, &raw.notify, &approvers);
    let telemetry = telemetry(check, &raw.telemetry);
    Some(Settings {
        file: check.file().to_owned(),
        text: check.text().to_owned(),
        gateway: gateway?,
        console,
        login,
        ops,
        issuers,
        crews,
        roles,
        nesting,
        approvers,
        break_glass,
        approval,
        persons,
        policy,
        policy_tests,
        policy_zone,
        shadow,
        store: store?,
        record_readers,
        record_erasers,
        retention,
        exchange: exchanged,
        events,
        revokers,
        record_keys,
        exports,
        witnesses,
        notify,
        telemetry,
        masks,
    })
}

/// Those of the named roles that there are.
fn known_roles(check: &mut Checker<'_>, named: &[raw::Text], known: &BTreeSet<&str>) -> BTreeSet<String> {
    let exists = |name: &str| match known.contains(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("no role `{name}`")),
    };
    named.iter().filter_map(|role| check.parse(role, exists)).collect()
}

fn gateway(check: &mut Checker<'_>, raw: &raw::Gateway) -> Option<GatewaySettings> {
    let listen = listener(check, &raw.listen, raw.tls.as_ref(), raw.dangerously_plain_http);
    let public_url = raw.public_url.as_ref().and_then(|text| check.parse(text, |text| url(text, true)));
    let mut count = |value: &Option<toml::Spanned<u32>>, default: usize, what: &str| match value {
        Some(value) if *value.get_ref() == 0 => {
            check.wrong(value.span(), format!("`{what}` must be at least 1"), None);
            default
        }
        Some(value) => usize::try_from(*value.get_ref()).unwrap_or(default),
        None => default,
    };
    let max_connections = count(&raw.max_connections, 1024, "max_connections");
    let max_calls = count(&raw.max_calls, 512, "max_calls");
    let max_body_bytes = match &raw.max_body_bytes {
        Some(value) => match usize::try_from(*value.get_ref()) {
            Ok(bytes) if (1..=64 << 20).contains(&bytes) => bytes,
            _ => {
                check.wrong(value.span(), "`max_body_bytes` must be between 1 and 67108864 (64 MiB)", None);
                1 << 20
            }
        },
        None => 1 << 20,
    };
    let secs = Duration::from_secs;
    let limits = LimitSettings {
        max_body_bytes,
        max_connections,
        max_calls,
        per_address: check.parse_or(raw.per_address.as_ref(), (500, secs(1)), rate),
        header_timeout: check.parse_or(raw.header_timeout.as_ref(), secs(10), duration),
        request_timeout: check.parse_or(raw.request_timeout.as_ref(), secs(120), duration),
        idempotency: check.parse_or(raw.idempotency.as_ref(), secs(24 * 3600), duration),
        drain_timeout: check.parse_or(raw.drain_timeout.as_ref(), secs(30), duration),
    };
    Some(GatewaySettings {
        listen: listen?,
        public_url,
        limits,
        demand_dpop_nonce: raw.demand_dpop_nonce,
        turn_time_back: raw.dangerously_turn_time_back,
    })
}

fn listener(
    check: &mut Checker<'_>,
    listen: &raw::Text,
    tls: Option<&raw::Tls>,
    plain: bool,
) -> Option<ListenSettings> {
    let beside = check.beside();
    let at = check.parse(listen, address)?;
    if tls.is_none() && !plain && !at.ip().is_loopback() {
        let help = "give `tls = { certificate = …, key = … }`; `dangerously_plain_http = true` behind a TLS terminator";
        check.wrong(listen.span(), format!("`{at}` would carry tokens in clear"), Some(help));
        return None;
    }
    let tls = tls.map(|tls| TlsSettings {
        certificate: beside.join(tls.certificate.get_ref()),
        key: beside.join(tls.key.get_ref()),
        client_certificates: tls.client_certificates,
    });
    Some(ListenSettings { address: at, tls })
}

fn approval(check: &mut Checker<'_>, raw: &raw::Approval) -> ApprovalSettings {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let mut seats = |given: Option<&toml::Spanned<u32>>, name: &str| {
        let given = given?;
        let seats = usize::try_from(*given.get_ref()).ok().and_then(NonZeroUsize::new);
        if seats.is_none() {
            check.wrong(given.span(), format!("`{name}` must be at least 1"), None);
        }
        seats
    };
    let (held, held_each) = (seats(raw.held.as_ref(), "held"), seats(raw.held_each.as_ref(), "held_each"));
    let waiting_each = seats(raw.waiting_each.as_ref(), "waiting_each");
    ApprovalSettings {
        expires: check.parse_or(raw.expires.as_ref(), hours(4), duration),
        usable: check.parse_or(raw.usable.as_ref(), hours(1), duration),
        longest_wait: check.parse_or(
            raw.longest_wait.as_ref(),
            crewgate_approval::DEFAULT_LONGEST_WAIT,
            duration,
        ),
        held: held.unwrap_or(crewgate_approval::DEFAULT_HOLD_LIMIT),
        held_each,
        waiting_each: waiting_each.unwrap_or(crewgate_approval::DEFAULT_WAITING_EACH),
    }
}

fn person(
    check: &mut Checker<'_>,
    raw: &raw::Person,
    issuers: &[IssuerSettings],
    seen: &mut BTreeSet<String>,
) -> Option<PersonSettings> {
    for identity in raw.identities.get_ref() {
        let known = identity
            .split_once(':')
            .is_some_and(|(issuer, subject)| !subject.is_empty() && issuers.iter().any(|i| i.name == issuer));
        if !known {
            let text = format!("`{identity}` must be the name of an issuer, a colon and a subject");
            check.wrong(raw.identities.span(), text, None);
        }
        if !seen.insert(identity.clone()) {
            check.wrong(raw.identities.span(), format!("`{identity}` belongs to a person already"), None);
        }
    }
    Some(PersonSettings { name: check.parse(&raw.name, name)?, identities: raw.identities.get_ref().clone() })
}

fn telemetry(check: &mut Checker<'_>, raw: &raw::Telemetry) -> TelemetrySettings {
    let format = check.parse_or(raw.log.as_ref(), LogFormat::Human, |text| match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither `human` nor `json`")),
    });
    let level = raw.level.as_ref().map_or_else(|| "info".to_owned(), |level| level.get_ref().clone());
    let otlp = raw.otlp.as_ref().and_then(|text| check.parse(text, |text| url(text, true)));
    TelemetrySettings { format, level, otlp }
}
