//! Keys of services, each behind a feature of this build. A configuration that names a kind which is not built in is
//! refused by its name.

use std::sync::Arc;

use anyhow::{Result, bail};
use cofre_custody::recorded::{Recorded, Witness};
#[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
use cofre_custody::remote::Patience;
use cofre_custody::{Custodian, CustodianId, Fault, Signer};
use cofre_envelope::Slab;
use cofre_model::time::Clock;

use crate::config::Configured;

#[cfg(all(test, feature = "transit"))]
mod tests;

/// A key of a service, open. A build without any has no value of it.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    #[cfg(feature = "aws")]
    Aws(Arc<cofre_custody::aws::AwsKms>),
    #[cfg(feature = "gcp")]
    Gcp(Arc<cofre_custody::gcp::GcpKms>),
    #[cfg(feature = "transit")]
    Transit(Arc<cofre_custody::transit::TransitKey>),
}

impl Service {
    pub(crate) fn custodian(&self) -> Arc<dyn Custodian> {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => key.clone(),
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => key.clone(),
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => key.clone(),
        }
    }

    pub(crate) fn signer(&self) -> Result<Arc<dyn Signer>, Fault> {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => Ok(key.signer()?),
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => Ok(key.signer()?),
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => Ok(key.signer()?),
        }
    }

    /// What it says of the wrapping key.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => key.told(),
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => key.told(),
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => key.told(),
        }
    }

    /// What the wrapping key wrapped when it was opened.
    pub(crate) fn witness(&self) -> &Witness {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => key.witness(),
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => key.witness(),
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => key.witness(),
        }
    }

    #[cfg_attr(
        not(any(feature = "aws", feature = "gcp", feature = "transit")),
        allow(unused_variables, reason = "of kinds not built in")
    )]
    async fn hold_to(&self, recorded: &Recorded) -> Result<(), Fault> {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => key.hold_to(recorded).await,
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => key.hold_to(recorded).await,
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => key.hold_to(recorded).await,
        }
    }

    pub(crate) fn close(&self) {
        match *self {
            #[cfg(feature = "aws")]
            Self::Aws(ref key) => key.close(),
            #[cfg(feature = "gcp")]
            Self::Gcp(ref key) => key.close(),
            #[cfg(feature = "transit")]
            Self::Transit(ref key) => key.close(),
        }
    }
}

/// Opens a key of a service, and holds it to the record of its ceremony where there is one, for as long as it is open: at a
/// start, and when it comes back later.
pub(crate) async fn open_recorded(
    id: &CustodianId,
    configured: &Configured,
    recorded: Option<&Recorded>,
    (clock, slab): (&Arc<dyn Clock>, &Arc<Slab>),
) -> Result<Service> {
    let opened = open(id, configured, clock, slab).await?;
    if let Some(recorded) = recorded
        && let Err(fault) = opened.hold_to(recorded).await
    {
        opened.close();
        return Err(fault.into());
    }
    Ok(opened)
}

/// Opens a key of a service.
#[cfg_attr(
    not(all(feature = "aws", feature = "gcp", feature = "transit")),
    allow(unused_variables, reason = "of kinds not built in")
)]
pub(crate) async fn open(
    id: &CustodianId,
    configured: &Configured,
    clock: &Arc<dyn Clock>,
    slab: &Arc<Slab>,
) -> Result<Service> {
    match configured {
        #[cfg(feature = "aws")]
        Configured::AwsKms(key) => {
            use cofre_custody::aws::{AwsKms, Credentials, Settings};
            let settings = Settings {
                id: id.clone(),
                key: key.key.clone(),
                region: key.region.clone(),
                endpoint: key.endpoint.clone(),
                signer_key: key.signer_key.clone(),
                patience: Patience::default(),
            };
            Ok(Service::Aws(AwsKms::connect(settings, Credentials::Default, slab).await?))
        }
        #[cfg(feature = "gcp")]
        Configured::GcpKms(key) => {
            use cofre_custody::gcp::{Credentials, GcpKms, Settings};
            let settings = Settings {
                id: id.clone(),
                key: key.key.clone(),
                endpoint: key.endpoint.clone(),
                signer_key: key.signer_key.clone(),
                patience: Patience::default(),
            };
            let opened = GcpKms::connect(settings, Credentials::Default, clock.clone(), slab).await?;
            Ok(Service::Gcp(opened))
        }
        #[cfg(feature = "transit")]
        Configured::Transit(key) => {
            use anyhow::Context as _;
            use cofre_custody::transit::{Settings, TransitKey};
            let token = key.token.path().context(
                "custodians.*.transit.token names a systemd credential, and CREDENTIALS_DIRECTORY is not set",
            )?;
            let settings = Settings {
                id: id.clone(),
                address: key.address.parse().context("custodians.*.transit.address")?,
                ca: key.ca.clone(),
                mount: key.mount.clone(),
                key: key.key.clone(),
                signer_key: key.signer_key.clone(),
                token,
                patience: Patience::default(),
            };
            Ok(Service::Transit(TransitKey::connect(settings, slab).await?))
        }
        Configured::Pkcs11(_) => bail!("a token is no service"),
        #[cfg(not(feature = "aws"))]
        Configured::AwsKms(_) => bail!("this build has no AWS KMS; build cofred with its feature `aws`"),
        #[cfg(not(feature = "gcp"))]
        Configured::GcpKms(_) => bail!("this build has no Google Cloud KMS; build cofred with its feature `gcp`"),
        #[cfg(not(feature = "transit"))]
        Configured::Transit(_) => bail!("this build has no transit engine; build cofred with its feature `transit`"),
    }
}
