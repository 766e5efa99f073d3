//! Use case: the life of a consent, its notices in four languages and its signed receipts.
