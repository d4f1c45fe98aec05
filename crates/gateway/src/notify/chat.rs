//! Messages for incoming webhooks of Slack and of Teams (Workflows), and whatever takes the same.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Deliver, Undelivered, notice::Notice, webhook::Post};
use crate::config::ChatSettings;

pub(super) struct Chat {
    post: Post,
    render: fn(&Notice) -> Value,
}

impl Chat {
    pub(super) fn new(settings: &ChatSettings, render: fn(&Notice) -> Value) -> Result<Self, String> {
        Ok(Self { post: Post::new(&settings.url, settings.ca.as_deref())?, render })
    }
}

impl Deliver for Chat {
    fn deliver<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(self.post.send((self.render)(notice).to_string(), []))
    }
}

/// A message with a link in it; no button.
pub(super) fn slack(notice: &Notice) -> Value {
    let mut text = format!("*{}*", escaped(&notice.title));
    for (name, value) in &notice.facts {
        text.push_str(&format!("\n{name}: {}", escaped(value)));
    }
    text.push_str(&format!("\n<{}|Read and decide in the console>", notice.link));
    json!({
        "text": notice.title,
        "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": text } }],
        "unfurl_links": false,
    })
}

/// What Slack would read as a mention or a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An Adaptive Card whose one action opens a page.
pub(super) fn teams(notice: &Notice) -> Value {
    let facts: Vec<Value> =
        notice.facts.iter().map(|(name, value)| json!({ "title": name, "value": plain(value) })).collect();
    let open =
        json!({ "type": "Action.OpenUrl", "title": "Read and decide in the console", "url": notice.link });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "TextBlock", "text": plain(&notice.title), "weight": "Bolder", "wrap": true },
                    { "type": "FactSet", "facts": facts },
                ],
                "actions": [open],
            },
        }],
    })
}

/// What a card would read as Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '~' | '#' | '!') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_holds_is_text_and_not_markup() {
        assert_eq!(
            escaped("<!channel> & <https://evil.example|here>"),
            "&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;"
        );
        assert_eq!(plain("[here](https://evil.example)"), "\\[here\\]\\(https://evil.example\\)");
    }
}
