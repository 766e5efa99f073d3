//! Use case: registries of tenants, institutions and workers; lockdown, quarantine and key duties.
