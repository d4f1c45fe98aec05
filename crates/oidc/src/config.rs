use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use http::Uri;

use crate::{Algorithm, Introspection, Profile, algorithm::DEFAULT_ALGORITHMS};

/// From `iat` to `exp`. An hour is what providers issue; a token that lives longer outlives too many changes of mind.
pub const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// Difference of clocks that is forgiven. Machines with NTP stay within a second.
pub const DEFAULT_SKEW: Duration = Duration::from_secs(30);

/// The most that [`IssuerConfig::skew`] takes: more would make short-lived tokens long-lived.
pub const MAX_SKEW: Duration = Duration::from_secs(60);

/// Between two fetches of the keys, where neither settings nor the issuer's `Cache-Control` say otherwise.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(15 * 60);

/// The shortest and longest time an issuer's `Cache-Control` can ask for: it must neither make us a nuisance nor keep a
/// withdrawn key for a day.
pub const REFRESH_BOUNDS: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(60 * 60));

/// How long the last good keys serve while the issuer cannot be reached.
pub const DEFAULT_KEEP_KEYS: Duration = Duration::from_secs(24 * 3600);

/// One issuer: whose tokens, for whom, and what they may look like.
///
/// ```
/// use std::time::Duration;
/// use crewgate_oidc::{Algorithm, IssuerConfig};
///
/// let okta = IssuerConfig::new("okta", "https://acme.okta.com/oauth2/default", ["crewgate"])?
///     .algorithms([Algorithm::Rs256])
///     .max_lifetime(Duration::from_secs(900))
///     .groups_claim(["groups"]);
/// assert_eq!(okta.name(), "okta");
/// assert!(IssuerConfig::new("okta", "https://acme.okta.com", [""; 0]).is_err(), "an audience is mandatory");
/// # Ok::<(), crewgate_oidc::InvalidConfig>(())
/// ```
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) audience: BTreeSet<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_lifetime: Duration,
    pub(crate) skew: Duration,
    pub(crate) profile: Profile,
    /// Paths of claims; the names found at all of them count.
    pub(crate) groups: Vec<Vec<String>>,
    /// Claims that must have one of these values.
    pub(crate) require: BTreeMap<Vec<String>, BTreeSet<String>>,
    pub(crate) clients: BTreeSet<String>,
    pub(crate) trust_domain: Option<String>,
    pub(crate) pull_requests: bool,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) kind: KindRule,
    pub(crate) token_type: Option<String>,
    pub(crate) id_tokens: bool,
    pub(crate) jwks_uri: Option<String>,
    /// Between two fetches; by the issuer's word when not set.
    pub(crate) refresh: Option<Duration>,
    pub(crate) keep_keys: Duration,
    pub(crate) allow_http: bool,
    /// Of tokens of our own, which say in a claim of ours whose they are.
    pub(crate) own: bool,
}

/// How to tell a person's token from a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KindRule {
    /// A program when the token says so: `sub` equals its client, `gty` is `client-credentials`, `idtyp` is `app`, or
    /// `sub` starts with `repo:` (GitHub), `project_path:` (GitLab) or `system:serviceaccount:` (Kubernetes).
    #[default]
    Auto,
    /// Programs only.
    Service,
    /// Persons only.
    User,
}

/// Configuration that cannot be right; the text says what and of which issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidConfig(pub(crate) String);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidConfig {}

impl IssuerConfig {
    /// An issuer with a short name of our own, its URL exactly as it stands in `iss`, and the audiences a token may
    /// name. Everything else has a default.
    ///
    /// # Errors
    ///
    /// When there is no audience (such an issuer's tokens for *any* service would be accepted here), an audience is
    /// empty, or the name is not made of `a-z 0-9 -`: it becomes the prefix of groups and of identities.
    pub fn new<I>(name: impl Into<String>, url: impl Into<String>, audience: I) -> Result<Self, InvalidConfig>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let (name, url) = (name.into(), url.into());
        let audience: BTreeSet<String> = audience.into_iter().map(Into::into).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(InvalidConfig(format!("issuer name {name:?}: only a-z, 0-9 and -")));
        }
        if audience.is_empty() || audience.contains("") {
            return Err(InvalidConfig(format!("issuer {name}: an audience is mandatory and not empty")));
        }
        Ok(Self {
            name,
            url,
            audience,
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            max_lifetime: DEFAULT_MAX_LIFETIME,
            skew: DEFAULT_SKEW,
            profile: Profile::Generic,
            groups: Profile::Generic.groups(),
            require: BTreeMap::new(),
            clients: BTreeSet::new(),
            trust_domain: None,
            pull_requests: false,
            introspection: None,
            kind: KindRule::Auto,
            token_type: None,
            id_tokens: false,
            jwks_uri: None,
            refresh: None,
            keep_keys: DEFAULT_KEEP_KEYS,
            allow_http: false,
            own: false,
        })
    }

    /// The configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The issuer URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What this provider does differently: sets where its groups are, what it signs with, how long its tokens live and
    /// what else must hold of them. Settings made afterwards win. Default: [`Profile::Generic`].
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self.groups = profile.groups();
        self.id_tokens = profile.id_tokens();
        self.algorithms = profile.algorithms().unwrap_or_else(|| DEFAULT_ALGORITHMS.to_vec());
        self.max_lifetime = profile.max_lifetime().unwrap_or(DEFAULT_MAX_LIFETIME);
        self
    }

    /// The profile in force.
    #[must_use]
    pub fn used_profile(&self) -> Profile {
        self.profile
    }

    /// A claim every token must have, with one of these values: a tenant, a domain, an owner's number. `path` names
    /// nested members; a list satisfies it with any of its strings, numbers and booleans count as they are written.
    #[must_use]
    pub fn require<P, V>(mut self, path: P, values: V) -> Self
    where
        P: IntoIterator,
        P::Item: Into<String>,
        V: IntoIterator,
        V::Item: Into<String>,
    {
        let path = path.into_iter().map(Into::into).collect();
        self.require.entry(path).or_default().extend(values.into_iter().map(Into::into));
        self
    }

    /// The OAuth clients whose tokens are accepted. Default: all; name them when others share the audience.
    #[must_use]
    pub fn clients<I>(mut self, clients: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.clients = clients.into_iter().map(Into::into).collect();
        self
    }

    /// The SPIFFE trust domain whose identities are believed; [`Profile::Spiffe`] needs it.
    #[must_use]
    pub fn trust_domain(mut self, domain: impl Into<String>) -> Self {
        self.trust_domain = Some(domain.into());
        self
    }

    /// Asks the issuer about tokens that are no JWTs.
    #[must_use]
    pub fn introspection(mut self, settings: Introspection) -> Self {
        self.introspection = Some(settings);
        self
    }

    /// Accepts CI jobs that a pull or merge request set off. Its author may be a stranger, and chooses what runs.
    #[must_use]
    pub fn dangerously_accept_pull_requests(mut self) -> Self {
        self.pull_requests = true;
        self
    }

    /// Algorithms the issuer may sign with. Default: RS256, PS256, ES256, ES384, EdDSA.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The longest time from `iat` to `exp`. Default: one hour.
    #[must_use]
    pub fn max_lifetime(mut self, max: Duration) -> Self {
        self.max_lifetime = max;
        self
    }

    /// As [`Revocations`](crate::Revocations) must know an issuer at which people [log in](crate::Login): what it vouches
    /// for lasts as long as a session.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.max_lifetime = self.max_lifetime.max(crate::SESSION_LIFE);
        self
    }

    /// Difference of clocks that is forgiven. Default 30 s, at most 60 s.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Where the groups are, and nowhere else: names of nested members, e.g. `["realm_access", "roles"]`; a string
    /// there is one group, a list of strings several. Default: what the profile says, `["groups"]` of the generic one.
    #[must_use]
    pub fn groups_claim<I>(mut self, path: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.groups = vec![path.into_iter().map(Into::into).collect()];
        self
    }

    /// One more place where groups are.
    #[must_use]
    pub fn and_groups_claim<I>(mut self, path: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.groups.push(path.into_iter().map(Into::into).collect());
        self
    }

    /// How to tell persons from programs. Default: [`KindRule::Auto`].
    #[must_use]
    pub fn kind(mut self, rule: KindRule) -> Self {
        self.kind = rule;
        self
    }

    /// The `typ` that tokens must have, e.g. `at+jwt` (RFC 9068). Default: none, `JWT`, `JOSE` or `at+jwt`.
    #[must_use]
    pub fn token_type(mut self, typ: impl Into<String>) -> Self {
        self.token_type = Some(typ.into());
        self
    }

    /// Takes tokens with `nonce`, `at_hash` or `c_hash` too. They mark ID tokens, which say who logged in somewhere,
    /// not who may call here; some providers put a `nonce` into access tokens.
    #[must_use]
    pub fn accept_id_tokens(mut self) -> Self {
        self.id_tokens = true;
        self
    }

    /// Where the keys are, instead of asking the issuer's discovery document.
    #[must_use]
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.jwks_uri = Some(uri.into());
        self
    }

    /// Between two fetches of the keys, one minute at least, whatever the issuer says. Default: its `Cache-Control`,
    /// but not less than 5 and not more than 60 minutes; 15 minutes when it says nothing.
    #[must_use]
    pub fn refresh_every(mut self, period: Duration) -> Self {
        self.refresh = Some(period);
        self
    }

    /// How long the last good keys serve while the issuer cannot be reached. Default 24 hours.
    #[must_use]
    pub fn keep_keys(mut self, time: Duration) -> Self {
        self.keep_keys = time;
        self
    }

    /// Fetches keys over plain HTTP from other machines. Whoever is on the way can then sign for anybody. Loopback
    /// addresses do not need it.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Checks what only the finished configuration shows.
    ///
    /// # Errors
    ///
    /// What cannot be right: an address keys may not be fetched from, a limit out of bounds, a profile without what it
    /// needs to tell our tokens from a stranger's.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let wrong = |what: &str| Err(InvalidConfig(format!("issuer {}: {what}", self.name)));
        if self.url.contains(['?', '#', '@']) {
            return wrong("the URL has a query, a fragment or a user");
        }
        if let Err(why) = self.fetchable(&self.url) {
            return wrong(&format!("url: {why}"));
        }
        if let Some(Err(why)) = self.jwks_uri.as_deref().map(|uri| self.fetchable(uri)) {
            return wrong(&format!("jwks_uri: {why}"));
        }
        if let Some(Err(why)) = self.introspection.as_ref().map(|asked| self.fetchable(&asked.endpoint)) {
            return wrong(&format!("introspection: {why}"));
        }
        if self.algorithms.is_empty() {
            return wrong("no algorithm is allowed");
        }
        if self.skew > MAX_SKEW {
            return wrong("a skew of more than 60 s");
        }
        if self.max_lifetime.is_zero() {
            return wrong("a maximum lifetime of zero");
        }
        if self.refresh.is_some_and(|period| period < Duration::from_secs(60)) {
            return wrong("a refresh more often than every minute");
        }
        let broken = |path: &Vec<String>| path.is_empty() || path.contains(&String::new());
        if self.groups.iter().any(broken) {
            return wrong("an empty groups claim");
        }
        if self.require.iter().any(|(path, values)| broken(path) || values.is_empty()) {
            return wrong("an empty requirement");
        }
        self.profile.check(self)
    }

    /// Whether documents may be fetched from this URL: https, or http to this machine when the issuer itself is on
    /// this machine. A public issuer cannot send us to a port of our own host.
    pub(crate) fn fetchable(&self, url: &str) -> Result<Uri, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "not a URL")?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("not an absolute URL")?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a URL with a user");
        }
        match uri.scheme_str() {
            Some("https") => Ok(uri),
            Some("http") if self.allow_http => Ok(uri),
            Some("http") if is_loopback(host) && self.is_local() => Ok(uri),
            Some("http") => Err("plain http to another machine"),
            _ => Err("neither https nor http"),
        }
    }

    /// Whether the issuer's document may send us to this place: names are looked at when they are resolved, an address
    /// only the issuer's own, or a document could have us ask in our own network.
    pub(crate) fn may_lead_to(&self, url: &str) -> bool {
        let Some(place) = host_of(url) else { return false };
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(&place);
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        self.fetchable(url).is_ok() && (!is_address || host_of(&self.url).is_some_and(|own| own == place))
    }

    /// Whether keys may be at this place without being told so: on the issuer's own host, or where its profile knows
    /// them to be.
    pub(crate) fn may_publish_at(&self, jwks_uri: &str) -> bool {
        let Some(published) = host_of(jwks_uri) else { return false };
        host_of(&self.url).is_some_and(|own| own == published)
            || self.profile.key_hosts().contains(&published.as_str())
    }

    fn is_local(&self) -> bool {
        self.url.parse::<Uri>().ok().and_then(|uri| uri.host().map(is_loopback)).unwrap_or(false)
    }
}

fn host_of(url: &str) -> Option<String> {
    url.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_ascii_lowercase()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> IssuerConfig {
        IssuerConfig::new("idp", url, ["crewgate"]).unwrap()
    }

    #[test]
    fn a_document_leads_to_no_address_but_the_issuers_own() {
        let named = config("https://idp.example");
        for place in ["https://idp.example/token", "https://login.example/token"] {
            assert!(named.may_lead_to(place), "{place}");
        }
        for place in [
            "https://169.254.169.254/token",
            "https://[fd00:ec2::254]/token",
            "https://10.0.0.1:8443/",
            "http://x/",
            "x",
        ] {
            assert!(!named.may_lead_to(place), "{place}");
        }
        let own = config("http://127.0.0.1:8080");
        assert!(
            own.may_lead_to("http://127.0.0.1:8080/token") && !own.may_lead_to("https://127.0.0.2/token")
        );
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for good in ["https://idp.example", "http://127.0.0.1:9", "http://localhost", "http://[::1]:8080/x"] {
            assert_eq!(config(good).check(), Ok(()), "{good}");
        }
        for bad in [
            "http://idp.example",
            "ftp://idp.example",
            "idp.example",
            "/idp",
            "https://user@idp.example",
            "https://idp.example?x=1",
            "https://idp.example#x",
            "http://127.0.0.1.example",
        ] {
            assert!(config(bad).check().is_err(), "{bad}");
        }
        assert_eq!(config("http://idp.example").dangerously_allow_http().check(), Ok(()));
    }

    #[test]
    fn a_public_issuer_cannot_send_us_to_our_own_host() {
        assert!(config("https://idp.example").fetchable("http://127.0.0.1:9/jwks").is_err());
        assert!(config("http://127.0.0.1:9").fetchable("http://127.0.0.1:9/jwks").is_ok());
    }

    #[test]
    fn limits_of_the_configuration_hold() {
        let base = || config("https://idp.example");
        assert!(base().skew(Duration::from_secs(61)).check().is_err());
        assert!(base().algorithms([]).check().is_err());
        assert!(base().max_lifetime(Duration::ZERO).check().is_err());
        assert!(base().refresh_every(Duration::from_secs(59)).check().is_err());
        assert!(base().groups_claim(["realm", ""]).check().is_err());
        for name in ["", "Okta", "a:b", "a b", "ö"] {
            assert!(IssuerConfig::new(name, "https://idp.example", ["x"]).is_err(), "{name}");
        }
        assert!(IssuerConfig::new("a", "https://idp.example", [""]).is_err());
    }
}
