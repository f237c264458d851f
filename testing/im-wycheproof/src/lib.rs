//! Nothing but tests: Project Wycheproof's vectors for every primitive, against both providers. See `tests/`.
