use std::collections::BTreeMap;

/// What a client asks of the token endpoint; parameters that mean nothing here are ignored (RFC 6749 section 3.2).
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`; the error is for the client.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let mut form = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // Which of two was meant?
            if form.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(format!("`{name}` stands twice"));
            }
        }
        Ok(Self(form))
    }

    /// A parameter; an empty one counts as left out (RFC 6749 section 3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All of them.
    pub(crate) fn into_fields(self) -> BTreeMap<String, String> {
        self.0
    }

    /// A parameter that must be there.
    pub(super) fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("`{name}` is missing"))
    }
}
