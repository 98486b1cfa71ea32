//! The routes of both versions.

use crate::wire::Operation::{self, Delete, List, Patch, Read, Write};
use crate::wire::{Field, Route};

const PATH: &[Field] = &[Field::text("path", "Of the secret; it may hold slashes.")];

const CONFIG: &[Field] = &[
    Field::int("max_versions", "How many versions are kept; 0 is ten.").or("0"),
    Field::flag("cas_required", "Whether each write must say which version it follows.").or("false"),
    Field::flag("metadata_cas_required", "Whether each write of metadata must say which version it follows.")
        .or("false"),
    Field::seconds("delete_version_after", "After how long a version is deleted; 0 is never.").or("0"),
];

const METADATA: &[Field] = &[
    Field::object("custom_metadata", "Texts by name."),
    Field::int("metadata_cas", "The version of the metadata that this write follows."),
];

const DATA: &[Field] = &[
    Field::object("data", "The secret.").required(),
    Field::object("options", "\"cas\": the version that this write follows."),
];

const VERSION: &[Field] = &[Field::int("version", "Which version; the latest when left out.")];

const DEPTH: &[Field] = &[Field::int("depth", "How deep names are shown; 0 is all the way.").or("0")];

const VERSIONS: &[Field] = &[Field::list("versions", "Which versions.").required()];

const EVERY: &[Operation] = &[Read, List, Write, Patch, Delete];

/// Version 1.
pub(super) const PLAIN: &[Route] = &[
    Route::new("", &[List], "Lists the secrets."),
    Route::new("*path", &[Read, List, Delete], "Shows a secret, lists a folder, or removes a secret.").fields(&[PATH]),
    Route::new("*path", &[Write], "Writes a secret.").fields(&[PATH]).any().creates(),
];

/// Version 2.
pub(super) const VERSIONED: &[Route] = &[
    Route::new("config", &[Read], "Shows what holds for all secrets."),
    Route::new("config", &[Write], "Changes what holds for all secrets.").fields(&[CONFIG]),
    Route::new("data/*path", &[Read], "Shows a version of a secret.").fields(&[PATH, VERSION]),
    Route::new("data/*path", &[Write, Patch], "Writes a new version, or merges into the latest one.")
        .fields(&[PATH, DATA])
        .creates(),
    Route::new("data/*path", &[Delete], "Deletes the latest version; it can be brought back.").fields(&[PATH]),
    Route::new("subkeys/*path", &[Read], "Shows the names in a secret without its values.")
        .fields(&[PATH, VERSION, DEPTH]),
    Route::new("delete/*path", &[Write], "Deletes versions; they can be brought back.").fields(&[PATH, VERSIONS]),
    Route::new("undelete/*path", &[Write], "Brings versions back.").fields(&[PATH, VERSIONS]),
    Route::new("destroy/*path", &[Write], "Removes versions for good.").fields(&[PATH, VERSIONS]),
    Route::new("metadata", &[List], "Lists the secrets."),
    Route::new(
        "metadata/*path",
        &[Read, List, Delete],
        "Shows the versions of a secret, lists a folder, or removes all.",
    )
    .fields(&[PATH]),
    Route::new("metadata/*path", &[Write, Patch], "Changes what holds for a secret.")
        .fields(&[PATH, CONFIG, METADATA])
        .creates(),
    Route::new("detailed-metadata", &[List], "Lists the secrets with their metadata."),
    Route::new("detailed-metadata/*path", &[List], "Lists a folder with its metadata.").fields(&[PATH]),
    // Answered with the way to the right path.
    Route::new("", EVERY, "A path of version 1.").any().hidden(),
    Route::new("*path", EVERY, "A path of version 1.").any().hidden(),
];
