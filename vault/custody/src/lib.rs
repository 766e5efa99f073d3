//! Keys held by an HSM: wrap, unwrap and sign through PKCS#11, custody sets and warm tenant keys.
