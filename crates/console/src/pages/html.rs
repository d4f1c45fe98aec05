use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

/// Text for HTML, in elements and, where nothing turns its direction around, in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What turns the direction of writing around could show another request than the one that is sent.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                out.push_str(&format!("<b class=\"mark\">U+{:04X}</b>", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole page around `body`, which is HTML already.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} · Crewgate</title>\
         <link rel=\"stylesheet\" href=\"/style.css\"></head><body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    );
    let mut response = (status, Body::from(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    harden(headers);
    response
}

/// Nothing runs on a page, nothing is loaded from elsewhere, nobody frames it or keeps it.
pub(super) fn harden(headers: &mut http::HeaderMap) {
    let all = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would then send forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A page that says one thing, with one link on.
pub fn notice(status: StatusCode, title: &str, text: &str, link: (&str, &str)) -> Response {
    let (to, name) = (escape(link.0), escape(link.1));
    page(status, title, &format!("<p>{}</p><p><a href=\"{to}\">{name}</a></p>", escape(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_becomes_a_page_of_its_own() {
        let shown = escape("<script>alert(\"1\")</script>&'");
        assert_eq!(shown, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;");
        assert_eq!(escape("a\u{202e}b"), "a<b class=\"mark\">U+202E</b>b");
    }
}
