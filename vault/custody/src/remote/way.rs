//! The way to a service that a client library goes by itself: that it leads where the configuration says, and what is known
//! of it when nothing came back.

use hyper_util::client::proxy::matcher::Matcher;

use super::Trouble;
use crate::fault::Cause;

/// Refuses plain text that would leave this machine: the clients go through the proxies that the environment names, also
/// to a loopback address. By TLS a proxy sees nothing, and may stand between.
pub(crate) fn direct(endpoint: &str) -> Result<(), Trouble> {
    unseen(endpoint, &Matcher::from_env())
}

fn unseen(endpoint: &str, proxies: &Matcher) -> Result<(), Trouble> {
    let unread = || Trouble::of(Cause::EndpointWrong).said("no address of a service");
    let address: hyper::Uri = endpoint.parse().map_err(|_| unread())?;
    if address.scheme_str() == Some("http") && proxies.intercept(&address).is_some() {
        // SECURITY: without this a share goes in the clear to whoever HTTP_PROXY names.
        return Err(Trouble::of(Cause::EndpointWrong)
            .said("plain http would go through a proxy of the environment: list the address in NO_PROXY"));
    }
    Ok(())
}

/// Reads what a client library says when nothing came back. The libraries give no types for it, only words; a word that
/// is not known here costs a wrong advice, never a wrong answer.
pub(crate) fn on_the_way(error: &(dyn std::error::Error + 'static)) -> Trouble {
    let mut lower = String::new();
    let mut link = Some(error);
    while let Some(cause) = link {
        let said = cause.to_string();
        // What quotes the address quotes names that people gave.
        if !said.contains("://") {
            lower.push_str(&said.to_ascii_lowercase());
            lower.push('\n');
        }
        link = cause.source();
    }
    let has = |any: &[&str]| any.iter().any(|word| lower.contains(word));
    if has(&["certnotvalidyet", "not valid yet", "certexpired", "expired context"]) {
        Trouble::of(Cause::ClockSkew).said("the service's certificate is not valid now")
    } else if has(&["certificate", "tls handshake", "invalidcontenttype", "corrupt message"]) {
        Trouble::of(Cause::EndpointWrong).said("no trusted TLS at the address")
    } else if has(&["dns error", "failed to lookup address", "name or service not known"]) {
        Trouble::of(Cause::EndpointWrong).said("the name of the service is not known")
    } else if has(&["credential", "metadata service"]) {
        Trouble::of(Cause::Denied).said("no credentials could be had")
    } else {
        Trouble::of(Cause::Transient).said("no connection, or it broke")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_through_no_proxy() {
        let proxy = || Matcher::builder().all("http://proxy.example:3128");
        let seen = unseen("http://127.0.0.1:8080", &proxy().build()).expect_err("it would go through the proxy");
        assert_eq!(seen.cause, Cause::EndpointWrong);
        assert!(unseen("http://127.0.0.1:8080", &proxy().no("127.0.0.1").build()).is_ok(), "left out");
        assert!(unseen("http://127.0.0.1:8080", &Matcher::builder().build()).is_ok(), "none there");
        assert!(unseen("https://kms.example", &proxy().build()).is_ok(), "a tunnel sees nothing");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Link {
        said: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn words_are_looked_for_along_the_whole_chain_and_not_in_addresses() {
        let chain =
            |said, below| Link { said: "the call failed", source: Some(Box::new(Link { said, source: below })) };
        for (said, cause) in [
            ("invalid peer certificate: certificate not valid yet: verification time 7", Cause::ClockSkew),
            ("invalid peer certificate: UnknownIssuer", Cause::EndpointWrong),
            ("received corrupt message of type InvalidContentType", Cause::EndpointWrong),
            ("dns error: failed to lookup address information", Cause::EndpointWrong),
            ("no credentials in the property bag", Cause::Denied),
            ("connection refused", Cause::Transient),
            ("error sending request for url (http://certificate.example/)", Cause::Transient),
        ] {
            assert_eq!(on_the_way(&chain(said, None)).cause, cause, "{said}");
        }
    }
}
