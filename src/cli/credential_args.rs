//! What can be typed after `credential`.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::args::{Page, Port};
use super::examples;
use crate::domain::StateName;

#[derive(Debug, Subcommand)]
pub(super) enum Credential {
    /// Mint one; its secret is printed this once
    #[command(after_help = examples::CREDENTIAL_CREATE)]
    Create(NewCredential),
    /// List them, the newest first, revoked ones too
    List(CredentialQuery),
    /// Show one with all its rights
    Show(OneCredential),
    /// Put one to sleep: its tokens stop working at once, until it is resumed
    Suspend(OneCredential),
    /// Wake a suspended one
    Resume(OneCredential),
    /// Change one; less right counts at once, on tokens that are out too
    #[command(after_help = examples::CREDENTIAL_UPDATE)]
    Update(CredentialChanges),
    /// Give one another secret, printed this once; the old ones go on for a while
    #[command(after_help = examples::CREDENTIAL_ROTATE)]
    Rotate {
        #[command(flatten)]
        one: OneCredential,
        /// How long the old secrets and their tokens go on, such as 24h; left out:
        /// until they are retired by hand
        #[arg(long, value_name = "DURATION")]
        retire_old_after: Option<String>,
        /// End each old secret once it was not used for so long, such as 30d
        #[arg(long, value_name = "DURATION")]
        retire_old_after_unused: Option<String>,
    },
    /// End one secret of one, with the tokens that it minted
    RetireSecret {
        #[command(flatten)]
        one: OneCredential,
        /// Which of its secrets; "show --json" lists them
        generation: u32,
    },
    /// Wake an armed role of one for a while
    #[command(after_help = examples::CREDENTIAL_ARM)]
    Arm {
        #[command(flatten)]
        one: OneCredential,
        /// An armed role that it holds
        #[arg(long)]
        role: String,
        /// For how long from now, such as 15m; at most 24h
        #[arg(long = "for", value_name = "DURATION")]
        how_long: String,
    },
    /// Put an armed role of one to sleep at once, or all of them
    Disarm {
        #[command(flatten)]
        one: OneCredential,
        /// An armed role that it holds; all of them, if left out
        #[arg(long)]
        role: Option<String>,
    },
    /// Show which of its rights one used, and a narrower grant
    Usage(OneCredential),
    /// Give one the grant that "usage" proposes
    Narrow(OneCredential),
    /// Show what hangs on one: routes, last use, live tokens, open streams
    Impact(OneCredential),
    /// End one for good, with all its tokens and open streams
    #[command(after_help = examples::CREDENTIAL_REVOKE)]
    Revoke {
        #[command(flatten)]
        one: OneCredential,
        /// Why; it stands in the history
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct OneCredential {
    /// Its client_id
    #[arg(value_name = "ID")]
    pub(super) client_id: String,
    #[command(flatten)]
    pub(super) port: Port,
}

#[derive(Debug, Args)]
pub(super) struct NewCredential {
    /// What people call it
    #[arg(long)]
    pub(super) name: String,
    /// The account that it is bound to
    #[arg(long)]
    pub(super) account: String,
    /// A predefined role; may be given again
    #[arg(long = "role", value_name = "ROLE")]
    pub(super) roles: Vec<String>,
    /// A single scope besides those of its roles; may be given again
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(super) scopes: Vec<String>,
    /// An environment it is limited to; may be given again; none means all
    #[arg(long = "environment", value_name = "ENVIRONMENT")]
    pub(super) environments: Vec<String>,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) description: String,
    /// When it ends by itself, such as 2030-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) expires_at: Option<String>,
    #[command(flatten)]
    pub(super) port: Port,
}

#[derive(Debug, Args)]
pub(super) struct CredentialQuery {
    /// Parts of words of creator, name, description or role, in any case
    #[arg(short, long = "query", value_name = "WORDS")]
    pub(super) q: Option<String>,
    /// Only those in this state
    #[arg(long, value_parser = PossibleValuesParser::new(StateName::ALL.map(StateName::as_str)))]
    pub(super) state: Option<String>,
    /// Only those with this role
    #[arg(long)]
    pub(super) role: Option<String>,
    /// Only those of this account
    #[arg(long)]
    pub(super) account: Option<String>,
    /// Only those that may act in this environment
    #[arg(long)]
    pub(super) environment: Option<String>,
    /// Only those that were never used, or not for so long, such as 90d
    #[arg(long, value_name = "DURATION")]
    pub(super) unused_for: Option<String>,
    #[command(flatten)]
    pub(super) page: Page,
    #[command(flatten)]
    pub(super) port: Port,
}

/// What is left out stays as it is.
#[derive(Debug, Args)]
pub(super) struct CredentialChanges {
    #[command(flatten)]
    pub(super) one: OneCredential,
    /// What people call it
    #[arg(long)]
    pub(super) name: Option<String>,
    /// What it is for
    #[arg(long)]
    pub(super) description: Option<String>,
    /// A role that it is to have; may be given again; takes the place of all it had
    #[arg(long = "role", value_name = "ROLE", conflicts_with = "no_roles")]
    pub(super) roles: Vec<String>,
    /// Take all roles away
    #[arg(long)]
    pub(super) no_roles: bool,
    /// A single scope that it is to have; may be given again; takes the place of all it had
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "no_scopes")]
    pub(super) scopes: Vec<String>,
    /// Take all single scopes away
    #[arg(long)]
    pub(super) no_scopes: bool,
    /// An environment it is limited to; may be given again; takes the place of all it had
    #[arg(long = "environment", value_name = "ENVIRONMENT", conflicts_with = "all_environments")]
    pub(super) environments: Vec<String>,
    /// Limit it to no environment
    #[arg(long)]
    pub(super) all_environments: bool,
    /// When it ends by itself, such as 2030-01-31T00:00:00Z, or "never"
    #[arg(long, value_name = "TIME")]
    pub(super) expires_at: Option<String>,
    /// Its own limit, such as 100/s, or "none"
    #[arg(long)]
    pub(super) rate: Option<String>,
    /// Its own limit of requests at once, or "none"
    #[arg(long, value_name = "COUNT")]
    pub(super) concurrency: Option<String>,
}
