//! Use case: take a login sealed in the browser and seal it for rest.
