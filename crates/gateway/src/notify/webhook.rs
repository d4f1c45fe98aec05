//! Signed webhooks, as Standard Webhooks has them.

use std::sync::Arc;

use aws_lc_rs::{hmac, signature::Ed25519KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crewgate_core::Clock;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::json;

use super::{Deliver, Undelivered, notice::Notice};
use crate::{
    client::{self, Client, chain},
    config::{Secret, WebhookSettings},
};

/// Largest answer of a receiver that is read; it says next to nothing.
const MAX_ANSWER: usize = 64 * 1024;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What signs a webhook.
pub(crate) enum SigningKey {
    /// `whsec_…`: HMAC-SHA256, shared with the receiver.
    Shared(Box<hmac::Key>),
    /// `whsk_…`: Ed25519; the receiver has the public half.
    Private(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads a secret as Standard Webhooks writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            "it is no signing secret: `whsec_` and 24 to 64 bytes in base64, or `whsk_` and an Ed25519 key";
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| wrong.to_owned());
        if let Some(secret) = text.strip_prefix("whsec_") {
            let secret = bytes(secret)?;
            return match secret.len() {
                24..=64 => Ok(Self::Shared(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)))),
                _ => Err(wrong.to_owned()),
            };
        }
        let key = bytes(text.strip_prefix("whsk_").ok_or(wrong)?)?;
        // A seed, or a seed with its public key behind it.
        let seed = key.get(..32).filter(|_| key.len() == 32 || key.len() == 64).ok_or(wrong)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| wrong.to_owned())?;
        Ok(Self::Private(Box::new(pair)))
    }

    fn sign(&self, content: &[u8]) -> String {
        match self {
            Self::Shared(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, content))),
            Self::Private(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(content))),
        }
    }
}

/// What a receiver checks: a signature of each key, so that keys can be changed without a gap.
pub(crate) fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut content = format!("{id}.{timestamp}.").into_bytes();
    content.extend_from_slice(body);
    keys.iter().map(|key| key.sign(&content)).collect::<Vec<_>>().join(" ")
}

pub(super) struct Webhook {
    post: Post,
    keys: Vec<SigningKey>,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let keys = settings.secrets.iter().map(|secret| SigningKey::parse(secret.expose()));
        Ok(Self {
            post: Post::new(&settings.url, settings.ca.as_deref())?,
            keys: keys.collect::<Result<_, _>>()?,
            clock,
        })
    }
}

impl Deliver for Webhook {
    fn deliver<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Undelivered>> {
        let body = payload(notice).to_string();
        // Of the attempt: a receiver refuses what is old.
        let timestamp = self.clock.now().as_secs();
        let signature = signatures(&self.keys, &notice.id, timestamp, body.as_bytes());
        let headers = [(ID, notice.id.clone()), (TIMESTAMP, timestamp.to_string()), (SIGNATURE, signature)];
        Box::pin(self.post.send(body, headers))
    }
}

fn payload(notice: &Notice) -> serde_json::Value {
    let facts: serde_json::Map<_, _> =
        notice.facts.iter().map(|(name, value)| (name.replace(' ', "_"), json!(value))).collect();
    json!({
        "type": notice.kind,
        "timestamp": humantime::format_rfc3339_millis(notice.at.into()).to_string(),
        "data": {
            "approval_id": notice.approval,
            "title": notice.title,
            "facts": facts,
            "link": notice.link,
        },
    })
}

/// Sends JSON to one address that is a secret: it stands in no error and no log.
pub(super) struct Post {
    client: Client,
    url: Secret,
}

impl Post {
    pub(super) fn new(url: &Secret, ca: Option<&[u8]>) -> Result<Self, String> {
        Ok(Self { client: client::build(ca)?, url: url.clone() })
    }

    /// `Ok`: it was acknowledged with a status of 2xx. A redirect is not followed.
    pub(super) async fn send(
        &self,
        body: String,
        headers: impl IntoIterator<Item = (HeaderName, String)>,
    ) -> Result<(), Undelivered> {
        let mut request = Request::post(self.url.expose()).body(Full::new(Bytes::from(body)));
        let request = request.as_mut().map_err(|_| "its address cannot be used".to_owned())?;
        let own = request.headers_mut();
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            own.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
        }
        let answer = self.client.request(std::mem::take(request)).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        // Read, so that the connection can be used again.
        let _ = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let error = format!("it answers {status}");
        match status {
            status if status.is_success() => Ok(()),
            // Later it may be different.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Undelivered::Down(error))
            }
            status if status.is_client_error() => Err(Undelivered::Refused(error)),
            _ => Err(Undelivered::Down(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_signed_as_the_published_example_is() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signatures(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs_and_what_is_no_key_is_refused() {
        let seed = STANDARD.encode([7_u8; 32]);
        let keys = [
            SigningKey::parse(&format!("whsec_{}", STANDARD.encode([1_u8; 32]))).unwrap(),
            SigningKey::parse(&format!("whsk_{seed}")).unwrap(),
        ];
        let signed = signatures(&keys, "m", 1, b"{}");
        let [shared, private] = signed.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert!(shared.starts_with("v1,"));
        let signature = STANDARD.decode(private.strip_prefix("v1a,").unwrap()).unwrap();
        let SigningKey::Private(pair) = &keys[1] else { panic!("it is a private key") };
        let public = aws_lc_rs::signature::KeyPair::public_key(&**pair);
        let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
        public.verify(b"m.1.{}", &signature).unwrap();
        assert!(public.verify(b"m.2.{}", &signature).is_err());
        for wrong in ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "whsk_c2hvcnQ="] {
            assert!(SigningKey::parse(wrong).is_err(), "{wrong}");
        }
    }
}
