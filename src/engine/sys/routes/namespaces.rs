//! Routes of namespaces.

use crate::wire::Operation::{Delete, List, Patch, Read, Write};
use crate::wire::{Field, Route};

const PATH: &[Field] = &[Field::text("path", "The namespace, as seen from this one.")];

const NAMESPACE: &[Field] = &[
    Field::map("custom_metadata", "For people. A patch takes keys away whose value is null."),
    Field::text("seal", "Refused: namespaces have the engine's seal."),
];

const UNLOCK: &[Field] = &[Field::secret("unlock_key", "What locking it answered; root tokens need none.")];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("namespaces", &[List], "Lists the namespaces directly below this one."),
    Route::new("namespaces/api-lock/lock", &[Write], "Lets nothing in this namespace answer."),
    Route::new("namespaces/api-lock/lock/*path", &[Write], "Lets nothing in a namespace answer.").fields(&[PATH]),
    Route::new("namespaces/api-lock/unlock", &[Write], "Lets this namespace answer again.").fields(&[UNLOCK]),
    Route::new("namespaces/api-lock/unlock/*path", &[Write], "Lets a namespace answer again.").fields(&[PATH, UNLOCK]),
    Route::new("namespaces/*path", &[Read], "Shows a namespace.").fields(&[PATH]),
    Route::new("namespaces/*path", &[Delete], "Deletes a namespace with all that is in it.").fields(&[PATH]),
    Route::new("namespaces/*path", &[Write], "Makes a namespace, or replaces its metadata.").fields(&[PATH, NAMESPACE]),
    Route::new("namespaces/*path", &[Patch], "Changes the metadata of a namespace.").fields(&[PATH, NAMESPACE]),
    Route::new("internal/ui/namespaces", &[Read], "Lists the namespaces below this one that the caller can use."),
];
