//! What a worker or a front end links: identity, deposit sealing, release, opening, relay and promises.
