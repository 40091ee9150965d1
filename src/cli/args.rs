//! What can be typed: every command, its arguments and its help.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

pub(super) use super::credential_args::{
    Credential, CredentialChanges, CredentialQuery, NewCredential, OneCredential,
};
use super::examples;
use crate::domain::AdminRole;

/// An authorization gateway: hands out credentials with chosen roles, trades
/// them for tokens, judges every request, and revokes at once.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = examples::TOP,
    max_term_width = 100
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway
    #[command(after_help = examples::SERVE)]
    Serve(ConfigFile),
    /// Check a configuration: every fault at once, each with its key and line
    #[command(after_help = examples::CHECK)]
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Show how a request would be judged, step by step
    #[command(after_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Make administrators, straight in the store; list and remove them, through
    /// the admin port
    #[command(subcommand)]
    Admin(Admin),
    /// List, rotate and revoke the keys that tokens are signed with, through the
    /// admin port
    #[command(subcommand)]
    Key(Key),
    /// Mint, find, suspend and revoke credentials, through the admin port
    #[command(subcommand, after_help = examples::CREDENTIAL)]
    Credential(Credential),
    /// Revoke single tokens, through the admin port
    #[command(subcommand)]
    Token(Token),
    /// Read who did what, and check that the trail is whole, through the admin port
    #[command(subcommand)]
    Audit(Audit),
    /// Copy everything into one file, whether or not a server runs
    #[command(after_help = examples::BACKUP)]
    Backup(Backup),
    /// Make the store of a backup; where something was revoked since, it stays revoked
    #[command(after_help = examples::RESTORE)]
    Restore(Restore),
    /// See the whole of it on this machine: needs nothing, leaves nothing
    #[command(after_help = examples::DEMO)]
    Demo {
        /// Tell the story once, check every step, and end
        #[arg(long)]
        once: bool,
        /// With --once: print the story as JSON
        #[arg(long, requires = "once")]
        json: bool,
    },
    /// Have a running gateway read its configuration again, through the admin port
    #[command(after_help = examples::RELOAD)]
    Reload {
        #[command(flatten)]
        port: Port,
    },
    /// Print the OpenAPI description of the admin port, as JSON
    #[command(after_help = examples::OPENAPI)]
    Openapi,
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Where it goes: a file that is not there yet, or a folder
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    pub(super) to: PathBuf,
    #[command(flatten)]
    pub(super) port: Port,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(super) from: PathBuf,
    /// You vouch for it that nothing was revoked, suspended, narrowed or removed after
    /// the backup was made, as when a stopped gateway moves: credentials and
    /// administrators stay as they were
    #[arg(long)]
    pub(super) nothing_revoked_since: bool,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// The request's method
    #[arg(long)]
    pub(super) method: String,
    /// Its URL: absolute (the host counts), or a path with its query
    #[arg(long)]
    pub(super) url: String,
    /// Its access token; "-" reads it from standard input, which keeps it out of
    /// the shell's history
    #[arg(long)]
    pub(super) token: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Make an administrator and print the key, once
    #[command(after_help = examples::ADMIN_CREATE)]
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// Who it is: letters, digits, "-", "_" and "."
        #[arg(long)]
        name: String,
        /// What they may do; each may do all that the ones before it may
        #[arg(long, value_parser = admin_role())]
        role: AdminRole,
        #[command(flatten)]
        output: Output,
    },
    /// List the administrators, the newest first
    #[command(after_help = examples::ADMIN_LIST)]
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        port: Port,
    },
    /// Remove an administrator; the key is of no use from then on
    #[command(after_help = examples::ADMIN_REMOVE)]
    Remove {
        /// Who
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        port: Port,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List them, the newest first
    #[command(after_help = examples::KEY_LIST)]
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        port: Port,
    },
    /// Make a new one: published at once, signing after a while
    #[command(after_help = examples::KEY_ROTATE)]
    Rotate {
        /// EdDSA, ES256 or RS256; as the one that signs now, if left out
        #[arg(long)]
        algorithm: Option<String>,
        /// How long it is published before it signs, such as 10m; 0s for at once
        #[arg(long, value_name = "TIME")]
        activate_after: Option<String>,
        #[command(flatten)]
        port: Port,
    },
    /// Revoke one that somebody else may know: it and all tokens that it signed
    #[command(after_help = examples::KEY_REVOKE)]
    Revoke {
        /// Its name, as "key list" prints it
        #[arg(value_name = "KID")]
        kid: String,
        /// Why, for the trail
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        port: Port,
    },
}

/// How the admin port is reached. The key comes from the environment only: an
/// argument can be read by everybody on the machine.
#[derive(Debug, Args)]
pub(super) struct Port {
    /// Where the admin port is
    #[arg(
        long,
        env = "PORTCULLIS_ADMIN_URL",
        value_name = "URL",
        default_value = super::port::DEFAULT_URL
    )]
    pub(super) admin_url: String,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Page {
    /// How many at most
    #[arg(long)]
    pub(super) limit: Option<u32>,
    /// Where the page before this one ended
    #[arg(long)]
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Revoke one token for good
    #[command(after_help = examples::TOKEN_REVOKE)]
    Revoke {
        #[command(flatten)]
        which: WhichToken,
        #[command(flatten)]
        port: Port,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichToken {
    /// The token's id, its "jti" claim
    #[arg(long)]
    pub(super) jti: Option<String>,
    /// The token itself; "-" reads it from standard input
    #[arg(long)]
    pub(super) token: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List what was done, the newest first
    #[command(after_help = examples::AUDIT_LIST)]
    List {
        /// Parts of words of who, from where, what, to what, why and what changed
        #[arg(short, long = "query", value_name = "WORDS")]
        q: Option<String>,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        port: Port,
    },
    /// Follow the chain of hashes through the whole trail
    #[command(after_help = examples::AUDIT_VERIFY)]
    Verify {
        #[command(flatten)]
        port: Port,
    },
}

fn admin_role() -> impl TypedValueParser<Value = AdminRole> {
    PossibleValuesParser::new(AdminRole::ALL.map(AdminRole::as_str))
        .try_map(|text| text.parse::<AdminRole>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn clap_finds_no_fault_in_the_tree() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_the_contract_lists_is_taken() {
        for line in [
            "portcullis serve --config F",
            "portcullis check --config F --json",
            "portcullis explain --config F --method GET --url /x",
            "portcullis explain --config F --method GET --url http://h/x --token -",
            "portcullis admin create --config F --name N --role super-admin",
            "portcullis credential create --name N --account A --role R --role S --scope a.b --environment E --description D --expires-at 2030-01-01T00:00:00Z",
            "portcullis credential list -q x --state revoked --role R --account A --environment E --limit 5 --cursor C --json",
            "portcullis credential show ID",
            "portcullis credential suspend ID --json",
            "portcullis credential resume ID",
            "portcullis credential list --unused-for 90d",
            "portcullis credential update ID --name N --role R --scope a.b --environment E --description D --expires-at never --rate 5/s --concurrency none",
            "portcullis credential update ID --no-roles --no-scopes --all-environments",
            "portcullis credential rotate ID --retire-old-after 24h --json",
            "portcullis credential retire-secret ID 1",
            "portcullis credential arm ID --role R --for 15m",
            "portcullis credential disarm ID --role R",
            "portcullis credential disarm ID",
            "portcullis credential usage ID",
            "portcullis credential narrow ID",
            "portcullis credential impact ID",
            "portcullis credential revoke ID --reason R",
            "portcullis token revoke --jti J",
            "portcullis token revoke --token T --admin-url http://x",
            "portcullis audit list --limit 3",
            "portcullis audit verify --json",
            "portcullis key list",
            "portcullis key rotate --algorithm ES256 --activate-after 10m",
            "portcullis key revoke KID --reason R --json",
            "portcullis reload --json",
            "portcullis admin list --limit 3",
            "portcullis admin remove alice",
            "portcullis demo",
            "portcullis demo --once --json",
            "portcullis openapi",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        use ErrorKind::{
            ArgumentConflict, DisplayHelpOnMissingArgumentOrSubcommand as Help, InvalidSubcommand,
            InvalidValue, MissingRequiredArgument as Missing, UnknownArgument,
        };
        for (line, kind) in [
            ("portcullis", Help),
            ("portcullis serve", Missing),
            ("portcullis unload", InvalidSubcommand),
            ("portcullis explain --config F --method GET", Missing),
            ("portcullis admin create --config F --name N --role root", InvalidValue),
            ("portcullis credential create --name N", Missing),
            ("portcullis credential revoke ID", Missing),
            ("portcullis credential list --state dead", InvalidValue),
            ("portcullis credential update ID --role R --no-roles", ArgumentConflict),
            ("portcullis credential arm ID --role R", Missing),
            ("portcullis credential list --key pak1", UnknownArgument),
            ("portcullis token revoke", Missing),
            ("portcullis token revoke --jti J --token T", ArgumentConflict),
            ("portcullis demo --json", Missing),
        ] {
            let error = parse(line).err().map(|error| (error.kind(), error.exit_code()));
            assert_eq!(error, Some((kind, 2)), "{line}");
        }
    }
}
