//! Functions that consul-template has and we have not, with the reason and what to do instead.

const CONSUL: &str = "asks Consul, which lessor-agent does not talk to";
const NOMAD: &str = "asks Nomad, which lessor-agent does not talk to";
const CHANGING: &str = "gives another result each time, so that the file would change for ever";

const REASONS: &[(&str, &str)] = &[
    (
        "pkiCert",
        "is not supported; `with secret` of the same path and parameters issues the certificate, with .Data.certificate, \
         .Data.private_key and .Data.issuing_ca, and issues it again before it ends",
    ),
    ("caLeaf", CONSUL),
    ("caRoots", CONSUL),
    ("connect", CONSUL),
    ("datacenters", CONSUL),
    ("exportedServices", CONSUL),
    ("key", CONSUL),
    ("keyExists", CONSUL),
    ("keyExistsGet", CONSUL),
    ("keyOrDefault", CONSUL),
    ("ls", CONSUL),
    ("safeLs", CONSUL),
    ("node", CONSUL),
    ("nodes", CONSUL),
    ("partitions", CONSUL),
    ("peerings", CONSUL),
    ("service", CONSUL),
    ("services", CONSUL),
    ("tree", CONSUL),
    ("safeTree", CONSUL),
    ("byKey", CONSUL),
    ("byTag", CONSUL),
    ("byMeta", CONSUL),
    ("explode", CONSUL),
    ("byPort", CONSUL),
    ("nomadService", NOMAD),
    ("nomadServices", NOMAD),
    ("nomadVar", NOMAD),
    ("nomadVarList", NOMAD),
    ("nomadVarExists", NOMAD),
    ("plugin", "runs a program, which an image without a shell rarely has; use command after the file is written"),
    ("executeTemplate", "is not supported; {{ template \"name\" . }} puts its result in the same place"),
    ("sockaddr", "is not supported; env reads an address that the pod's spec sets"),
    ("md5sum", "is not supported, as MD5 protects nothing; sha256Hex takes its place"),
    ("spew_dump", "is for debugging; toJSONPretty shows a value"),
    ("spew_printf", "is for debugging; toJSONPretty shows a value"),
    ("spew_sdump", "is for debugging; toJSONPretty shows a value"),
    ("spew_sprintf", "is for debugging; toJSONPretty shows a value"),
    ("spew_lib", "is for debugging; toJSONPretty shows a value"),
    ("parseYAML", "is not supported; parseJSON reads JSON"),
    ("sprig_uuidv4", CHANGING),
    ("sprig_randAlphaNum", CHANGING),
    ("sprig_randAlpha", CHANGING),
    ("sprig_randNumeric", CHANGING),
    ("sprig_randAscii", CHANGING),
    ("sprig_htpasswd", CHANGING),
    ("sprig_bcrypt", CHANGING),
    ("sprig_genPrivateKey", CHANGING),
    ("sprig_genSelfSignedCert", CHANGING),
    ("sprig_genCA", CHANGING),
];

/// Why templates cannot call `name`, if it is one of these.
pub(super) fn reason(name: &str) -> Option<String> {
    let (_, reason) = REASONS.iter().find(|(known, _)| *known == name)?;
    Some(format!("{name} {reason}"))
}
