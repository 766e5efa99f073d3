//! The cellar: records, ciphertexts and keyring on SQLite, and the one commit that orders everything.
