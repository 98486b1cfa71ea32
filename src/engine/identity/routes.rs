//! The routes below `identity/`.

use crate::wire::Operation::{self, Delete, List, Read, Write};
use crate::wire::{Field, Route};

const SHOWN: &[Operation] = &[Read, Delete];

const ENTITY: &[Field] = &[
    Field::text("id", "Of the entity; one without it is made."),
    Field::text("name", "Of the entity; no other has it."),
    Field::map("metadata", "For templates in policies."),
    Field::list("policies", "What its tokens may do besides their own policies."),
    Field::flag("disabled", "Whether its tokens are good for nothing.").or("false"),
];

const ENTITIES: &[Field] = &[Field::list("entity_ids", "The entities that are to be removed.").required()];

const MERGE: &[Field] = &[
    Field::list("from_entity_ids", "The entities that end, and whose aliases, policies and groups the other one gets.")
        .required(),
    Field::text("to_entity_id", "The entity that is left.").required(),
    Field::list("conflicting_alias_ids_to_keep", "Where both know a login mount: which of the two aliases is kept."),
    Field::flag("force", "Accepted and without effect: entities have no MFA secrets.").or("false"),
];

const ALIAS: &[Field] = &[
    Field::text("id", "Of the alias; one without it is made."),
    Field::text("name", "Of the caller, as the login method knows it."),
    Field::text("mount_accessor", "Of the login method."),
    Field::text("canonical_id", "The entity that it is of; one of its own when left out."),
    Field::map("custom_metadata", "For templates in policies."),
];

const LOOKUP: &[Field] = &[
    Field::text("id", "Of the entity."),
    Field::text("name", "Of the entity."),
    Field::text("alias_id", "Of one of its aliases."),
    Field::text("alias_name", "Of one of its aliases, with alias_mount_accessor."),
    Field::text("alias_mount_accessor", "Of that alias' login method."),
];

const GROUP: &[Field] = &[
    Field::text("id", "Of the group; one without it is made."),
    Field::text("name", "Of the group; no other has it."),
    Field::text("type", "internal or external: whether its members stand here, or its login mount tells them.")
        .or("\"internal\""),
    Field::map("metadata", "For templates in policies."),
    Field::list("policies", "What the tokens of its members may do besides their own policies."),
    Field::list("member_entity_ids", "Entities that are in it; of an internal group only."),
    Field::list("member_group_ids", "Groups that are in it; of an internal group only."),
];

const GROUP_ALIAS: &[Field] = &[
    Field::text("id", "Of the alias; one without it is made."),
    Field::text("name", "Of the group, as the login method knows it."),
    Field::text("mount_accessor", "Of the login method."),
    Field::text("canonical_id", "The external group that it is of; one of its own when left out."),
];

const GROUP_LOOKUP: &[Field] = &[
    Field::text("id", "Of the group."),
    Field::text("name", "Of the group."),
    Field::text("alias_id", "Of its alias."),
    Field::text("alias_name", "Of its alias, with alias_mount_accessor."),
    Field::text("alias_mount_accessor", "Of that alias' login method."),
];

/// The routes.
pub(in crate::engine) const ROUTES: &[Route] = &[
    Route::new("entity", &[Write], "Writes an entity.").fields(&[ENTITY]),
    Route::new("entity/batch-delete", &[Write], "Removes entities.").fields(&[ENTITIES]),
    Route::new("entity/merge", &[Write], "Makes one entity of several.").fields(&[MERGE]),
    Route::new("entity/id", &[List], "Lists the entities by id."),
    Route::new("entity/id/:id", SHOWN, "Shows or removes an entity."),
    Route::new("entity/id/:id", &[Write], "Changes an entity.").fields(&[ENTITY]),
    Route::new("entity/name", &[List], "Lists the entities by name."),
    Route::new("entity/name/:name", SHOWN, "Shows or removes an entity."),
    Route::new("entity/name/:name", &[Write], "Writes an entity.").fields(&[ENTITY]),
    Route::new("entity-alias", &[Write], "Writes an alias.").fields(&[ALIAS]),
    Route::new("entity-alias/id", &[List], "Lists the aliases."),
    Route::new("entity-alias/id/:id", SHOWN, "Shows or removes an alias."),
    Route::new("entity-alias/id/:id", &[Write], "Changes an alias.").fields(&[ALIAS]),
    Route::new("group", &[Write], "Writes a group.").fields(&[GROUP]),
    Route::new("group/id", &[List], "Lists the groups by id."),
    Route::new("group/id/:id", SHOWN, "Shows or removes a group."),
    Route::new("group/id/:id", &[Write], "Changes a group.").fields(&[GROUP]),
    Route::new("group/name", &[List], "Lists the groups by name."),
    Route::new("group/name/:name", SHOWN, "Shows or removes a group."),
    Route::new("group/name/:name", &[Write], "Writes a group.").fields(&[GROUP]),
    Route::new("group-alias", &[Write], "Writes the alias of a group.").fields(&[GROUP_ALIAS]),
    Route::new("group-alias/id", &[List], "Lists the aliases of groups."),
    Route::new("group-alias/id/:id", SHOWN, "Shows or removes the alias of a group."),
    Route::new("group-alias/id/:id", &[Write], "Changes the alias of a group.").fields(&[GROUP_ALIAS]),
    Route::new("lookup/group", &[Write], "Finds a group.").fields(&[GROUP_LOOKUP]),
    Route::new("lookup/entity", &[Write], "Finds an entity.").fields(&[LOOKUP]),
];
