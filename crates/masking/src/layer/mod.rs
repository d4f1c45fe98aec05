//! The two layers.

mod body;
mod inflate;
mod request;
mod response;

use http::Extensions;

pub use self::{
    body::MaskBody,
    request::{MaskRequest, MaskRequestLayer},
    response::{MaskResponse, MaskResponseLayer},
};
use crate::Masker;

/// Says which masker applies to a request and its answer. `None` means that what should be masked is not known, and the
/// request is refused.
pub trait Mask: Send + Sync + 'static {
    /// The masker, by what layers above put on the request.
    fn masker(&self, extensions: &Extensions) -> Option<Masker>;
}

/// Always this one.
impl Mask for Masker {
    fn masker(&self, _: &Extensions) -> Option<Masker> {
        Some(self.clone())
    }
}

impl<F: Fn(&Extensions) -> Option<Masker> + Send + Sync + 'static> Mask for F {
    fn masker(&self, extensions: &Extensions) -> Option<Masker> {
        self(extensions)
    }
}
