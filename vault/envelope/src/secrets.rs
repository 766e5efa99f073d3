//! What no secret type can do: be cloned, printed, compared or serialised. Each type has one example per ability that
//! must not compile, and a twin of the same shape that must, so that a misspelt name cannot pass for a refusal.

macro_rules! cannot {
    ($module:ident, $name:literal, $($ability:literal $bound:literal),+) => {
        #[doc = concat!("The twin: `", $name, "` can be lent between threads.\n```\n",
            "fn can<T: Send + Sync>() {}\ncan::<cofre_envelope::", $name, ">();\n```\n")]
        $(
            #[doc = concat!("It cannot be ", $ability, ".\n```compile_fail\n",
                "fn can<T: ", $bound, ">() {}\ncan::<cofre_envelope::", $name, ">();\n```\n")]
        )+
        mod $module {}
    };
    ($module:ident, $name:literal) => {
        cannot!($module, $name, "cloned" "Clone", "printed for debugging" "std::fmt::Debug",
            "printed" "std::fmt::Display", "compared" "PartialEq", "serialised" "serde::Serialize");
    };
}

cannot!(tenant_key, "TenantKey");
cannot!(subject_key, "SubjectKey");
cannot!(evidence_key, "EvidenceKey");
cannot!(dek, "Dek");
cannot!(share, "Share");
cannot!(bound_share, "BoundShare");
cannot!(row_mac, "RowMac");
cannot!(dedupe_key, "DedupeKey");
cannot!(service_key, "ServiceKey");
cannot!(deposit_key_pair, "DepositKeyPair");
cannot!(worker_key_pair, "WorkerKeyPair");
cannot!(plain, "Plain");
cannot!(opened, "Opened");
cannot!(narrowed, "Narrowed");
cannot!(client_secret, "ClientSecret");
cannot!(released_field, "ReleasedField");
// The signer's contract asks the node key for `Debug`; a unit test holds that it prints its public half only.
cannot!(node_key, "NodeKey", "cloned" "Clone", "printed" "std::fmt::Display", "compared" "PartialEq",
    "serialised" "serde::Serialize");

/// The bounds of the examples are real ones: types that have the abilities pass them.
/// ```
/// fn cloned<T: Clone>() {}
/// fn printed<T: std::fmt::Debug + std::fmt::Display>() {}
/// fn compared<T: PartialEq>() {}
/// fn serialised<T: serde::Serialize>() {}
/// cloned::<cofre_envelope::PublicKey>();
/// printed::<cofre_envelope::Error>();
/// compared::<cofre_envelope::PublicKey>();
/// serialised::<String>();
/// ```
mod bounds {}
