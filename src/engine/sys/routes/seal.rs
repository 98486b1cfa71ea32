//! Routes of status, initialisation, seal and the keys under it.

use crate::wire::Operation::{self, Delete, Read, Write};
use crate::wire::{Field, Guard, Route};

const ATTEMPT: &[Operation] = &[Read, Write, Delete];

const CODES: &[Field] = &[
    Field::flag("standbyok", "Whether a standby counts as healthy."),
    Field::flag("perfstandbyok", "Whether a performance standby counts as healthy."),
    Field::int("activecode", "Status of an active engine.").or("200"),
    Field::int("standbycode", "Status of a standby; there is none.").or("429"),
    Field::int("drsecondarycode", "Status of a disaster recovery secondary; there is none.").or("472"),
    Field::int("performancestandbycode", "Status of a performance standby; there is none.").or("473"),
    Field::int("haunhealthycode", "Status of a node without its cluster; there is none.").or("474"),
    Field::int("removedcode", "Status of a node that was removed from its cluster; there is none.").or("530"),
    Field::int("sealedcode", "Status of a sealed engine.").or("503"),
    Field::int("uninitcode", "Status of an engine that is not initialised.").or("501"),
];

const INIT: &[Field] = &[
    Field::int("secret_shares", "Into how many shares the root key is divided (shamir)."),
    Field::int("secret_threshold", "How many of them it takes (shamir)."),
    Field::int("recovery_shares", "Into how many shares the recovery key is divided (other seals).").or("1"),
    Field::int("recovery_threshold", "How many of them it takes (other seals).").or("1"),
    Field::list("pgp_keys", "PGP public keys in base64, one for each share, which is encrypted with it (shamir)."),
    Field::list("recovery_pgp_keys", "The same for shares of the recovery key (other seals)."),
    Field::text("root_token_pgp_key", "A PGP public key in base64, which the root token is encrypted with."),
];

const UNSEAL: &[Field] = &[
    Field::secret("key", "One share of the root key."),
    Field::flag("reset", "Forgets the shares that were given so far."),
    Field::flag("migrate", "Refused: a seal is not exchanged for one of another kind."),
];

const ROOT_TOKEN: &[Field] = &[
    Field::secret("otp", "What the token is to be veiled with; one is made when it is left out."),
    Field::text("pgp_key", "A PGP public key in base64, which the token is encrypted with in place of the veil."),
];

const REKEY: &[Field] = &[
    Field::int("secret_shares", "Into how many shares the new key is divided.").required(),
    Field::int("secret_threshold", "How many of them it takes.").required(),
    Field::flag("require_verification", "Whether the new shares must be shown before they are taken.").or("false"),
    Field::list("pgp_keys", "PGP public keys in base64, one for each share, which is encrypted with it."),
    Field::flag("backup", "Whether the encrypted shares are kept, too.").or("false"),
];

const KEPT: &str = "Shows or removes the encrypted shares that a rekeying with backup kept.";

const SHARE: &[Field] = &[
    Field::secret("key", "One share.").required(),
    Field::text("nonce", "Of the attempt, as its start answered it.").required(),
];

const ROTATION: &[Field] = &[
    Field::flag("enabled", "Whether the key is replaced by itself.").or("true"),
    Field::int("max_operations", "After so many encryptions."),
    Field::seconds("interval", "After so long; 0 is never."),
];

/// What is answered without a token, sealed or not.
pub(in crate::engine) const STATUS: &[Route] = &[
    Route::new("health", &[Read], "Tells by its HTTP status how the engine is.").guard(Guard::Open).fields(&[CODES]),
    Route::new("seal-status", &[Read], "Tells whether the engine is sealed.").guard(Guard::Open),
    Route::new("leader", &[Read], "Tells which node is active.").guard(Guard::Open),
    Route::new("init", &[Read], "Tells whether the engine is initialised.").guard(Guard::Open),
    Route::new("init", &[Write], "Initialises the engine.").guard(Guard::Open).fields(&[INIT]),
    Route::new("unseal", &[Write], "Takes a share of the key that opens the engine.")
        .guard(Guard::Open)
        .fields(&[UNSEAL]),
];

/// What is answered to whoever has shares of a key, without a token.
pub(in crate::engine) const OPEN: &[Route] = &[
    Route::new("generate-root/attempt", ATTEMPT, "Begins, shows or ends the making of a root token.")
        .guard(Guard::Open)
        .fields(&[ROOT_TOKEN]),
    Route::new("generate-root/update", &[Write], "Takes a share for the making of a root token.")
        .guard(Guard::Open)
        .fields(&[SHARE]),
    Route::new("rekey/init", ATTEMPT, "Begins, shows or ends the division of the root key anew.")
        .guard(Guard::Open)
        .fields(&[REKEY]),
    Route::new("rekey/update", &[Write], "Takes a share for the division anew.").guard(Guard::Open).fields(&[SHARE]),
    Route::new("rekey/verify", &[Read, Delete], "Shows or begins anew the proof of the new shares.").guard(Guard::Open),
    Route::new("rekey/verify", &[Write], "Takes one of the new shares as proof.").guard(Guard::Open).fields(&[SHARE]),
    Route::new("rekey-recovery-key/init", ATTEMPT, "Begins, shows or ends the division of the recovery key anew.")
        .guard(Guard::Open)
        .fields(&[REKEY]),
    Route::new("rekey-recovery-key/update", &[Write], "Takes a share for the division anew.")
        .guard(Guard::Open)
        .fields(&[SHARE]),
    Route::new("rekey-recovery-key/verify", &[Read, Delete], "Shows or begins anew the proof of the new shares.")
        .guard(Guard::Open),
    Route::new("rekey-recovery-key/verify", &[Write], "Takes one of the new shares as proof.")
        .guard(Guard::Open)
        .fields(&[SHARE]),
];

/// What takes a token besides.
pub(super) const GUARDED: &[Route] = &[
    Route::new("seal", &[Write], "Seals the engine.").guard(Guard::Sudo),
    Route::new("step-down", &[Write], "Gives up being the active node; there is no other.").guard(Guard::Sudo),
    Route::new("rekey/backup", &[Read, Delete], KEPT),
    Route::new("rekey/recovery-key-backup", &[Read, Delete], KEPT),
    Route::new("rekey-recovery-key/backup", &[Read, Delete], KEPT),
    Route::new("generate-root-token/attempt", ATTEMPT, "Begins, shows or ends the making of a root token.")
        .guard(Guard::Sudo)
        .fields(&[ROOT_TOKEN]),
    Route::new("generate-root-token/update", &[Write], "Takes a share for the making of a root token.")
        .guard(Guard::Sudo)
        .fields(&[SHARE]),
    Route::new("rotate/root/init", ATTEMPT, "Begins, shows or ends the division of the root key anew.")
        .guard(Guard::Sudo)
        .fields(&[REKEY]),
    Route::new("rotate/root/update", &[Write], "Takes a share for the division anew.")
        .guard(Guard::Sudo)
        .fields(&[SHARE]),
    Route::new("rotate/root/verify", &[Read, Delete], "Shows or begins anew the proof of the new shares.")
        .guard(Guard::Sudo),
    Route::new("rotate/root/verify", &[Write], "Takes one of the new shares as proof.")
        .guard(Guard::Sudo)
        .fields(&[SHARE]),
    Route::new("rotate/root/backup", &[Read, Delete], KEPT).guard(Guard::Sudo),
    Route::new("rotate/recovery/init", ATTEMPT, "Begins, shows or ends the division of the recovery key anew.")
        .guard(Guard::Sudo)
        .fields(&[REKEY]),
    Route::new("rotate/recovery/update", &[Write], "Takes a share for the division anew.")
        .guard(Guard::Sudo)
        .fields(&[SHARE]),
    Route::new("rotate/recovery/verify", &[Read, Delete], "Shows or begins anew the proof of the new shares.")
        .guard(Guard::Sudo),
    Route::new("rotate/recovery/verify", &[Write], "Takes one of the new shares as proof.")
        .guard(Guard::Sudo)
        .fields(&[SHARE]),
    Route::new("rotate/recovery/backup", &[Read, Delete], KEPT).guard(Guard::Sudo),
    Route::new("rotate", &[Write], "Replaces the key that encrypts what is stored.").guard(Guard::Sudo),
    Route::new("rotate/keyring", &[Write], "Replaces the key that encrypts what is stored.").guard(Guard::Sudo),
    Route::new("rotate/config", &[Read], "Tells when that key is replaced by itself.").guard(Guard::Sudo),
    Route::new("rotate/config", &[Write], "Sets when that key is replaced by itself.")
        .guard(Guard::Sudo)
        .fields(&[ROTATION]),
    Route::new("key-status", &[Read], "Tells how old and how used the key is that encrypts what is stored."),
];
