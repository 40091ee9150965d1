//! Portcullis: a reverse-proxy authorization gateway on Pingora.
//!
//! It stands in front of HTTP APIs that exist already, hands out credentials
//! with chosen roles, trades them for tokens, judges every request, forwards
//! what is allowed byte for byte, and revokes at once and for good. What
//! outsiders can rely on stands in README.md; this page says how the code is
//! laid out, and why.
//!
//! # Code map
//!
//! One library and a thin binary. A room imports from itself and from lower
//! layers; `tests/layering.rs` fails on any other arrow.
//!
//! ```text
//! 9  main                 calls cli
//! 8  cli                  argv -> exit code; the demo
//! 7  app                  composition root: Config -> running parts
//! 6  edge                 the only room that knows Pingora
//! 5  api, config          plain HTTP in and out; file -> valid values
//! 4  service, metrics     use cases; counters handed out as handles
//! 3  policy, store        the pure decision; the engines
//! 2  token, revocation    JOSE, CPU only; what is dead, in memory
//! 1  domain               words: ids, scopes, credentials, time, secrets
//! ```
//!
//! Rooms of one layer do not see each other; `policy` and `store` never will.
//! There is one exception: `revocation` knows `token`'s `VerifiedToken`, since
//! that is what it is asked about.
//!
//! - `domain`: values that are valid by construction. `Clock` and `Entropy` are
//!   traits, so that time and randomness are arguments everywhere else.
//! - `token`: `UnverifiedToken<'_>` -> `VerifiedToken`, the keys, the cache of
//!   verified tokens, minting, sealing what lies at rest.
//! - `revocation`: `RevocationSet`, asked on every request, and `Streams`, what
//!   is under way, so that it can be cut.
//! - `policy`: `decide` and `explain` over an immutable `Snapshot`: routes, roles,
//!   keys. Paths are accepted or refused, never repaired.
//! - `store`: the trait `Store`, its engines `sled` and `memory`, one conformance
//!   suite for both, `codec`, the only form at rest, and `backup`, all of it in a file.
//! - `service`: one use case a file, over one `Context`; `Memory` is what
//!   committed changes amount to.
//! - `metrics`: every metric, and the access log.
//! - `api`: the routers of OAuth and of the admin port. `config`: one TOML file,
//!   every fault at once.
//! - `edge`: our accept loop, TLS, HTTP/2 driver and head reader, Pingora's
//!   callbacks, peers, refusals. `edge::peers` looks after addresses beside the
//!   requests. Each connection stays on one thread (`edge::lane`, `app::lanes`).
//! - `app`: puts it all together and takes it apart again, in order; `app::upgrade` hands
//!   it from one process to the next. The admin and the metrics port run on threads of
//!   their own (`app::aside`), so that they answer while the data plane is saturated.
//!
//! # The walk of a request
//!
//! 1. `edge::server` accepts below the cap (`edge::seat`: at the cap the longest
//!    idle connections make room) and gives it to a thread, `edge::handshake` speaks TLS;
//!    `edge::connection` reads one head (`edge::head`) within its limits and
//!    deadline. What could be read in two ways ends here (400, 408, 414, 431),
//!    before Pingora has seen a byte. `edge::http2` drives an HTTP/2 connection,
//!    asks the same of its heads and makes them look like those of HTTP/1.1; a CONNECT
//!    for a WebSocket becomes the upgrade that it would be there.
//! 2. Pingora runs in a future that is raced against the request's `CutSlot`:
//!    dropping it closes the upstream's connection and gives back the client's,
//!    which was only lent (`edge::loan`), for a last word: a 408, a 504, or the
//!    close frame of a WebSocket where it fits (`edge::tunnel`). It is lent for one
//!    request: Pingora gets no byte beyond its end (`edge::extent`), and no chunk that
//!    could be read in two ways. Of an HTTP/2 stream
//!    Pingora has a session of ours (`edge::http2::session`), which shares what writes:
//!    the last word is an answer, a gRPC status, a close frame, or the reset of just that
//!    stream.
//! 3. `edge::proxy::request_filter` hands the gateway's own paths to the OAuth
//!    router (`edge::mount`); `edge::judge` makes `RequestFacts` of all others.
//!    Where too many wait for an upstream already, or the processor is too late for too
//!    long, it ends here (503, `edge::crowd`, `edge::lag`).
//! 4. `policy::decide`: route and method (404, 405), bound parameters (400), public
//!    or not, bearer, cache or signature (401), revocation (401), scope, account,
//!    environment (403). Where `body_rules` need the body it answers `ReadBody`
//!    and is asked again with the body's keys. The answer is a `Permit` or a
//!    `Denial`.
//! 5. `edge::judge` makes a permit a passage: body limit, a place in `Streams`,
//!    concurrency, rate. Revocation is asked once more after registering: a
//!    revocation in between finds the request, one before is seen; a credential
//!    that has changed meanwhile is judged again.
//! 6. `upstream_peer` takes the address from the passage, and there is no other
//!    way to one. `edge::peers` knows which are up and how each is reached,
//!    `edge::retry` whether one may be tried after another; a request for a WebSocket
//!    gets a connection of its own (`edge::peers::upgrade`), and what may have trailers one
//!    that carries them past Pingora (`edge::peers::trailing`). `edge::headers` strips
//!    and sets; the target is the permit's.
//! 7. `RequestContext` reports when it is dropped, however that comes about: one
//!    line in the log, one count in the metrics.
//!
//! # The walk of a change
//!
//! 1. `api` proves who asks (one gate, one list of roles) and calls a use case of `service`.
//! 2. The use case builds a `Change`, guards and ops, with its audit entry in it,
//!    and calls `store.commit`: the only door.
//! 3. The engine groups changes; one thread writes, flushes, syncs sled's file and
//!    the witness. An engine that does not know says `Unknown`, never "done".
//! 4. The observer (`service::apply::Memory`) takes the change in and cuts the
//!    streams that it ends. Only then is there a `Receipt`, only then an answer.
//!
//! The start goes the same way: open, compare with digest and witness and load all of
//! it into `Memory` in the same pass, listen, then be ready. Less than all is nothing.
//! A thread beside it puts packed revocations into the set (`service::loading`), which
//! says of most tokens at one look that they are not in it (`revocation::filter`).
//! Beside it all, old revocations are packed by the hour in which they may go, 128 to
//! a value, by commits like any other. Minting a
//! token writes nothing, and the data plane never calls the store.
//!
//! # Invariants, and what guards each
//!
//! 1. No permit, no peer. `Permit` has no public constructor; `edge::stage::Stage`.
//! 2. `policy` is pure. `tests/layering.rs`.
//! 3. The upstream receives the bytes that were judged. `Permit::target`;
//!    `the_upstream_receives_the_very_bytes_that_were_judged`, and nothing after them:
//!    `an_upload_ends_once_whatever_ends_it`. A connection goes on where its request was
//!    read to its end: `each_is_judged_and_answered_in_its_turn`, and nowhere else:
//!    `nothing_comes_after_the_last_one`.
//! 4. Deny is the default. `Result<_, Denial>` all the way; the oracle in
//!    `policy::tests` agrees with `decide` by property.
//! 5. The algorithm comes from our key, and `iss`, `aud`, `exp`, `typ` must be there
//!    and match. `clippy.toml` bans `jsonwebtoken::decode`; `token::tests::forgeries`.
//! 6. Time is an argument. `clippy.toml` bans the wall clock; `ManualClock` in tests.
//! 7. Revocation is asked after any cache, and the cache holds whole tokens.
//!    `no_request_that_starts_after_the_receipt_succeeds`; what stands before the exact
//!    set hides nothing: `what_has_a_receipt_is_found_while_all_else_moves`.
//! 8. Acknowledged means durable, then applied. `store::conformance`, the power cuts
//!    in `store::sled::tests`, `a_receipt_outlives_kill_9`.
//!    What was forgotten as over stays so: sweeping records up to when, in its commit,
//!    and `Context::now` never goes behind; `a_swept_revocation_stays_when_the_clock_goes_back`.
//!    A restore is fenced: `what_was_revoked_after_the_backup_does_not_come_back`.
//! 9. Not ready until the set is complete. The order in `app::start`; a damaged store
//!    is refused: `a_damaged_store_is_refused_with_the_way_out`.
//! 10. Secrets and tokens have no `Serialize` and a redacted `Debug`.
//!     `state_folder_log_and_metrics_hold_no_secret_in_clear` greps for them. What a client
//!     sends is written down by way of `domain::masked`.
//! 11. Client-sent copies of our headers never go up.
//!     `identity_comes_from_us_alone`, `our_names_in_any_spelling_are_taken_away`; behind a
//!     body neither: `what_would_change_what_was_judged_does_not_go_up`.
//! 12. Metric labels come from closed sets. `Reason`, `CutReason`, `method_label`;
//!     routes and upstreams are named by the configuration.
//! 13. A reload takes effect or changes nothing. `Snapshot` and `EdgeSettings` are
//!     immutable and swapped, after all that can fail; then what runs on a right
//!     that is gone is cut (`policy::Ground::holds`), and what registers later is
//!     judged again: `what_loses_its_right_is_cut_and_the_rest_lives_on`, in a process that
//!     drains as well: `a_reload_cuts_what_lost_its_right_in_the_process_that_drains`.
//! 14. Every request is judged, whatever its shape.
//!     `an_upgrade_header_changes_nothing_in_judging`,
//!     `the_verdict_is_that_of_the_upgrade_of_http1`,
//!     `the_second_request_of_a_connection_is_judged_anew`,
//!     `two_readings_are_refused_as_on_http1`.
//! 15. Domain types are no wire or disk types. No serde in `domain` and `policy`:
//!     `tests/layering.rs`.
//! 16. No `unwrap`, `expect`, indexing or panic outside tests, no `unsafe`, no
//!     `#[allow]`. The lints in `Cargo.toml`, `tests/layering.rs`.
//! 17. Who may call what on the admin port stands in one list, `api::admin::calls`:
//!     its gate enforces it, the description tells it, and `tests/it/roles.rs` tries
//!     every call with every role.
//! 18. What may have taken effect upstream is never sent twice, and no connection is
//!     shared between trust domains. `what_may_have_been_done_is_never_sent_twice`,
//!     `trust_is_not_shared_and_is_read_again_at_a_reload`.
//! 19. Whoever judges knows of every change that has a receipt, of two processes as
//!     well: `app::upgrade::lent`; `streams_live_on_until_they_are_revoked_or_drained`,
//!     `whoever_drains_and_does_not_answer_is_ended_before_the_receipt`. A receipt for what
//!     others changed waits for the same (`Store::settled`):
//!     `a_repeated_receipt_waits_for_whoever_drains_as_the_first_does`. What the old
//!     process can't take in has none: `what_can_not_be_read_is_not_said_to_hold`.
//!
//! # Where the first plan was left, and why
//!
//! - The accept loop is ours, not Pingora's `Server`: a failed bind is an error, a
//!   head has limits and a deadline before anybody parses it, and a test can have
//!   ten gateways in one process.
//! - An engine tells an observer of each commit, in order, before it answers; there
//!   is no stream of changes to fall behind. Sweeping is a commit like any other.
//! - `decide` has a third answer, `ReadBody`, so that nobody's body is read before
//!   its token counts.
//! - Threads do not steal from each other: with two that do, a request was switched between
//!   them three times and cost half as much again (`edge::lane`).
//! - A credential's standing (state, secrets, rights) lies beside the revocations:
//!   one look-up says whether a token counts and how much of it is left.
//!
//! # Failures
//!
//! Three kinds that never mix: a `Denial` is an outcome; a room's own error type says
//! what went wrong there, and what to do; the API's error has a public half and an
//! internal one. Each is logged once, where it is handled. A panic in one request
//! stays in that request (`panic = "unwind"`); it is counted, and told where it was
//! but not what it said (`app::panics`); work that must not stop is begun anew
//! (`edge::again`). What each fault of the world costs stands in
//! README.md, "The failure contract", with the tests that prove it; `tests/it/torture`
//! kills, starves and floods the real program.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod edge;
pub mod metrics;
pub mod policy;
pub mod revocation;
pub mod service;
pub mod store;
pub mod token;
