//! Where the store is.

use crewgate_store::{Location, Postgres};

use super::{check::Checker, raw};

/// The store of a file with these keys of a record, or without.
pub(super) fn location(check: &mut Checker<'_>, raw: &raw::Store, has_keys: bool) -> Option<Location> {
    let beside = check.beside();
    let location = check.parse(&raw.url, |text| match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Location::File(beside.join(path))),
        _ if has_password(text) => {
            Err("a password does not stand here: give `store.password` by reference".to_owned())
        }
        Some(("postgres" | "postgresql", _)) => {
            Postgres::new(text).map(Location::Server).map_err(|error| error.to_string())
        }
        _ => {
            Err(format!("`{text}` is not a store: `sqlite:<file>` or `postgres://<user>@<host>/<database>`"))
        }
    })?;
    match (location, &raw.password) {
        (Location::File(_), Some(password)) => {
            check.wrong(password.span(), "a file has no password", None);
            None
        }
        (Location::Server(_), _) if !has_keys => {
            let help =
                "give `record.signing_keys` and `record.seal_key`, the same to every gateway that shares it";
            check.wrong(raw.url.span(), "a record in PostgreSQL needs keys that are given", Some(help));
            None
        }
        (Location::Server(postgres), Some(reference)) => match check.secret(reference.get_ref()) {
            Ok(password) => Some(Location::Server(postgres.password(password.expose()))),
            Err(message) => {
                check.wrong(reference.span(), message, None);
                None
            }
        },
        (location, None) => Some(location),
    }
}

/// Whether an address says one, where it can: `user:password@` or `?password=`.
fn has_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || query.split('&').any(|pair| pair.starts_with("password="))
}
