//! Where names may lead: an issuer's name that leads into one's own network is a mistake, or somebody's attempt to have
//! us ask there.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll},
    vec,
};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Resolves names to public addresses, and where it may to private ones. An address in a URL is not resolved: whoever
/// wrote it there knew.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    inner: GaiResolver,
    private: bool,
}

impl Resolver {
    pub(crate) fn new(private: bool) -> Self {
        Self { inner: GaiResolver::new(), private }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // `localhost` says itself where it leads.
        let any = self.private || name.as_str() == "localhost";
        let found = self.inner.call(name);
        Box::pin(async move { allowed(found.await?, any) })
    }
}

/// Those that may be asked; an error when there are others only.
fn allowed(
    found: impl Iterator<Item = SocketAddr>,
    any: bool,
) -> Result<vec::IntoIter<SocketAddr>, io::Error> {
    let (public, private): (Vec<_>, Vec<_>) = found.partition(|address| any || is_public(address.ip()));
    if public.is_empty() && !private.is_empty() {
        let what =
            "the name leads into a private network, where this issuer is not said to be (private_network)";
        return Err(io::Error::other(what));
    }
    Ok(public.into_iter())
}

/// By the registries of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = matches!(
        (first, second, third),
        // This network, shared address space, protocol assignments, benchmarking, reserved and multicast.
        (0, _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) | (224.., _, _)
    );
    !special && !address.is_private() && !address.is_loopback() && !address.is_link_local()
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast (RFC 4291), without those that carry an IPv4 address of whatever network: 6to4, and Teredo.
    let [first, second, ..] = address.segments();
    (0x2000..0x4000).contains(&first) && first != 0x2002 && (first, second) != (0x2001, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443)).collect()
    }

    #[test]
    fn names_that_lead_into_a_private_network_are_not_followed_unless_they_may() {
        for private in [
            "10.0.0.1",
            "172.16.9.9",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
        ] {
            let found = addresses(&[private]);
            assert!(allowed(found.clone().into_iter(), false).is_err(), "{private}");
            assert_eq!(allowed(found.into_iter(), true).unwrap().count(), 1, "{private}");
        }
        for public in
            ["140.82.121.3", "100.63.0.1", "172.32.0.1", "2606:50c0:8000::153", "::ffff:140.82.121.3"]
        {
            assert_eq!(allowed(addresses(&[public]).into_iter(), false).unwrap().count(), 1, "{public}");
        }
        let mixed = addresses(&["10.0.0.1", "140.82.121.3"]);
        assert_eq!(allowed(mixed.into_iter(), false).unwrap().count(), 1, "the public one");
        assert_eq!(
            allowed(std::iter::empty(), false).unwrap().count(),
            0,
            "nothing was found: that is told elsewhere"
        );
    }

    #[tokio::test]
    async fn the_own_machine_is_where_it_says_it_is() {
        let name: Name = "localhost".parse().unwrap();
        assert!(Resolver::new(false).call(name).await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
