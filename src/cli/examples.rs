//! What stands below the help of each command: examples and exit codes.

pub(super) const TOP: &str = "\
Begin here:
  portcullis demo                                 see it work, on a real API
  portcullis check --config portcullis.toml       every fault of a configuration
  portcullis admin create --config portcullis.toml --name alice --role super-admin
  portcullis serve --config portcullis.toml

Exit codes:
  0  done; explain: the request would be allowed
  1  it failed or was refused; explain: the request would be denied
  2  a usage or configuration fault: nothing was done";

pub(super) const SERVE: &str = "\
Signals:
  SIGTERM, SIGINT  not ready, wait (server.shutdown_delay), drain (server.drain_timeout),
                   exit 0; a second one exits at once
  SIGHUP           read the configuration again; a bad file changes nothing and says so
  SIGUSR2          start the binary that lies there now and hand sockets and store over,
                   without a gap; one that fails changes nothing and says so

The access log goes to standard output, one JSON line a request; diagnostics go to
standard error. PORTCULLIS_LOG sets how much: error, warn, info (default), debug, trace,
also by module, such as \"info,portcullis::edge=debug\".

Example:
  portcullis serve --config portcullis.toml >>access.log

Sockets that systemd hands over (LISTEN_FDS) are known by their addresses; systemd is told
how it goes (NOTIFY_SOCKET).

Exit codes: 0 drained after a signal; 1 it could not start, or was ended by a second
signal; 2 a usage or configuration fault";

pub(super) const CHECK: &str = "\
Examples:
  portcullis check --config portcullis.toml
  portcullis check --config portcullis.toml --json | jq '.faults[].key'

Exit codes: 0 the file is good (there may be warnings); 2 it is not";

pub(super) const EXPLAIN: &str = "\
Reads the store itself; while a server holds it, asks the admin port instead
(PORTCULLIS_ADMIN_URL, by default admin.listen of the file; PORTCULLIS_ADMIN_KEY).
It changes nothing. A request with a body is judged as one without.

Examples:
  portcullis explain --config portcullis.toml --method GET --url /v1/plans
  portcullis explain --config portcullis.toml --method DELETE \\
      --url https://api.example.com/v1/accounts/41902/library --token - <token.txt

Exit codes: 0 allow; 1 deny; 2 a usage or configuration fault";

pub(super) const ADMIN_CREATE: &str = "\
Opens the store itself, so no server may be running on it; a running one makes
administrators at its admin port (POST /v1/admins). The key alone goes to standard output.

Example:
  export PORTCULLIS_ADMIN_KEY=$(portcullis admin create \\
      --config portcullis.toml --name alice --role super-admin)

Exit codes: 0 made; 1 not made; 2 a usage or configuration fault";

pub(super) const ADMIN_LIST: &str = "\
Takes a super-admin's key. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis admin list

Exit codes: 0 done; 1 refused or unreachable; 2 a usage fault";

pub(super) const ADMIN_REMOVE: &str = "\
Takes a super-admin's key. The last super-admin stays. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis admin remove alice

Exit codes: 0 removed; 1 refused or unreachable; 2 a usage fault";

pub(super) const KEY_LIST: &str = "\
States: next (published, will sign), active (signs), retiring (believed until the last
token that it signed has ended). Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis key list

Exit codes: 0 done; 1 refused or unreachable; 2 a usage fault";

pub(super) const KEY_ROTATE: &str = "\
Takes a super-admin's key. Nothing stops working: the old key is believed until the last
token that it signed has ended. Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis key rotate
  portcullis key rotate --algorithm ES256 --activate-after 1h

Exit codes: 0 made; 1 refused or unreachable; 2 a usage fault";

pub(super) const AUDIT_VERIFY: &str = "\
Reads every entry from the store and follows the hashes; names the first broken link.
Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis audit verify || echo 'somebody changed the trail'

Exit codes: 0 whole; 1 broken, refused or unreachable; 2 a usage fault";

pub(super) const CREDENTIAL: &str = "\
These talk to the admin port of a running gateway. Tell them where it is and who you are:
  export PORTCULLIS_ADMIN_URL=http://127.0.0.1:8081
  export PORTCULLIS_ADMIN_KEY=pak1…

Examples:
  portcullis credential create --name 'Night report' --account 41902 --role campaign-reader
  portcullis credential list --state active -q report
  portcullis credential revoke 0b9f… --reason 'leaked in a log'

Exit codes: 0 done; 1 refused or unreachable; 2 a usage fault";

pub(super) const CREDENTIAL_CREATE: &str = "\
At least one role or scope is needed. Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis credential create --name 'Night report' --account 41902 --role campaign-reader
  portcullis credential create --name CI --account 41902 --scope flag.list --scope flag.update \\
      --environment preprod --expires-at 2030-01-31T00:00:00Z --json";

pub(super) const CREDENTIAL_UPDATE: &str = "\
What is left out stays. Lists are given whole: they take the place of what was there.
Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis credential update 0b9f… --role campaign-reader --no-scopes
  portcullis credential update 0b9f… --expires-at never --rate none";

pub(super) const CREDENTIAL_ROTATE: &str = "\
Put the new secret to use, watch \"show --json\" until the old one's last_used_at stands
still, then end it. Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis credential rotate 0b9f… --retire-old-after 24h
  portcullis credential rotate 0b9f… && portcullis credential retire-secret 0b9f… 1";

pub(super) const CREDENTIAL_ARM: &str = "\
Tokens that are out need not be renewed. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis credential arm 0b9f… --role library-cleaner --for 15m";

pub(super) const RELOAD: &str = "\
The file that the gateway was started with, all of it or nothing, as SIGHUP does. Takes a
super-admin's key. Faults are named with their keys and lines, and so is what can't change
without a restart. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis check --config portcullis.toml && portcullis reload

Exit codes: 0 taken on; 1 refused or unreachable; 2 a usage fault";

pub(super) const KEY_REVOKE: &str = "\
For a key that somebody else may know. Takes a super-admin's key. When the receipt is there,
every token that the key signed is dead, open streams on them are cut, and a new key signs.
It can't be undone; \"rotate\" is the gentle way. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis key revoke vX3l… --reason 'the backup was stolen'

Exit codes: 0 revoked; 1 refused or unreachable; 2 a usage fault";

pub(super) const CREDENTIAL_REVOKE: &str = "\
When the receipt is there, it is on disk for good and holds for every request from then on.
It can't be undone; \"suspend\" can. Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis credential revoke 0b9f… --reason 'leaked in a log'";

pub(super) const TOKEN_REVOKE: &str = "\
The credential goes on working and can mint others. Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis token revoke --jti 5c2d…
  portcullis token revoke --token - <token.txt

Exit codes: 0 revoked; 1 refused or unreachable; 2 a usage fault";

pub(super) const AUDIT_LIST: &str = "\
Environment: PORTCULLIS_ADMIN_KEY.

Example:
  portcullis audit list -q revoke --limit 20

Exit codes: 0 done; 1 refused or unreachable; 2 a usage fault";

pub(super) const BACKUP: &str = "\
A server that holds the store is asked through its admin port, with a super-admin's key, and
goes on with its work meanwhile; else the folder is read. The file holds no secret in clear,
and is of no use without the key file (store.key_file), which is not in it.
Environment: PORTCULLIS_ADMIN_KEY.

Examples:
  portcullis backup --config gateway.toml --to /backup/
  portcullis backup --config gateway.toml --to /backup/today.backup --json

Exit codes: 0 made, read back and whole; 1 not made; 2 a usage fault";

pub(super) const RESTORE: &str = "\
The store must not be there yet; the key file must. The checksum, the key file and the audit
trail are checked first. A backup knows nothing of what was revoked after it was made: so all
tokens end, all credentials are suspended and all administrators are removed, unless you say
that there was nothing.

Examples:
  portcullis restore --config gateway.toml --from /backup/today.backup
  portcullis restore --config gateway.toml --from moved.backup --nothing-revoked-since

Exit codes: 0 restored; 1 not restored, and there is no store; 2 a usage fault";

pub(super) const DEMO: &str = "\
Starts a small legacy campaign API, the gateway in front of it with a store in a temporary
folder, an administrator and three credentials; prints addresses, keys and curl lines, and
stays up until Ctrl-C. Takes the ports 8080, 8081 and 9464, or others if they are in use.

Examples:
  portcullis demo
  portcullis demo --once && echo 'every step came out right'

Exit codes: 0 ended by Ctrl-C, or every step came out right; 1 otherwise";

pub(super) const OPENAPI: &str = "\
Example:
  portcullis openapi >openapi.json";
