//! `sys/tools/random` and `sys/tools/hash`: random bytes and digests for those who have no better source (vault-api.md 1.9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::Digest as _;

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

/// Most random bytes in one answer, as in Vault.
const MOST: usize = 128 << 10;

impl Core {
    pub(super) fn sys_tools(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (&segments[..], operation) {
            (["random", rest @ ..], Operation::Write) if rest.len() <= 2 => self.random_bytes(rest, fields),
            (["hash"], Operation::Write) => hash(fields.string("algorithm")?.as_deref(), fields),
            (["hash", algorithm], Operation::Write) => hash(Some(algorithm), fields),
            (["random", ..] | ["hash", ..], _) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    /// The path may name the number of bytes and the source, in either order.
    fn random_bytes(&self, path: &[&str], fields: &Fields) -> Result<Reply, Error> {
        let (mut count, mut source) = (fields.int("bytes")?, fields.string("source")?);
        for segment in path {
            match segment.parse() {
                Ok(bytes) => count = Some(bytes),
                Err(_) => source = Some((*segment).to_owned()),
            }
        }
        // There is one source, the operating system's; a seal that has one of its own is not there.
        if let Some(source) = source.filter(|source| !matches!(source.as_str(), "" | "platform" | "seal" | "all")) {
            return Err(Error::bad_request(format!(
                "unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\""
            )));
        }
        let count = usize::try_from(count.unwrap_or(32)).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::bad_request("\"bytes\" cannot be less than 1"))?;
        if count > MOST {
            return Err(Error::bad_request(format!("\"bytes\" should be less than {MOST}")));
        }
        let mut bytes = vec![0; count];
        self.shared.random.fill(&mut bytes);
        let text = encoded(&bytes, fields.string("format")?.as_deref(), "base64")?;
        Ok(Reply::answer(Answer::data(json!({ "random_bytes": text }))))
    }
}

fn hash(algorithm: Option<&str>, fields: &Fields) -> Result<Reply, Error> {
    let input = fields.secret("input")?.unwrap_or_default();
    let input = STANDARD.decode(input.expose());
    let input = input.map_err(|_| Error::bad_request("unable to decode input as base64"))?;
    let digest = match algorithm.filter(|name| !name.is_empty()).unwrap_or("sha2-256") {
        "sha2-224" => sha2::Sha224::digest(&input).to_vec(),
        "sha2-256" => sha2::Sha256::digest(&input).to_vec(),
        "sha2-384" => sha2::Sha384::digest(&input).to_vec(),
        "sha2-512" => sha2::Sha512::digest(&input).to_vec(),
        "sha3-224" => sha3::Sha3_224::digest(&input).to_vec(),
        "sha3-256" => sha3::Sha3_256::digest(&input).to_vec(),
        "sha3-384" => sha3::Sha3_384::digest(&input).to_vec(),
        "sha3-512" => sha3::Sha3_512::digest(&input).to_vec(),
        other => return Err(Error::bad_request(format!("unsupported algorithm {other}"))),
    };
    let text = encoded(&digest, fields.string("format")?.as_deref(), "hex")?;
    Ok(Reply::answer(Answer::data(json!({ "sum": text }))))
}

fn encoded(bytes: &[u8], format: Option<&str>, default: &str) -> Result<String, Error> {
    match format.filter(|format| !format.is_empty()).unwrap_or(default) {
        "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        "base64" => Ok(STANDARD.encode(bytes)),
        other => Err(Error::bad_request(format!("unsupported encoding format {other}; must be \"hex\" or \"base64\""))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn digests_are_the_known_ones() {
        let of = |algorithm: Option<&str>, body: Value| match hash(algorithm, &body.as_object().unwrap().clone().into())
        {
            Ok(Reply::Envelope { envelope, .. }) => envelope.data.unwrap()["sum"].as_str().unwrap().to_owned(),
            Ok(_) => panic!("an answer has data"),
            Err(error) => error.to_string(),
        };
        let a = json!({ "input": "YQ==" });
        assert_eq!(of(None, a.clone()), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
        assert!(of(Some("sha2-512"), a.clone()).starts_with("1f40fc92da241694750979ee6cf582f2"));
        assert!(of(Some("sha3-256"), a.clone()).starts_with("80084bf2fba02475726feb2cab2d8215"));
        assert_eq!(of(None, json!({ "input": "YQ==", "format": "base64" })).len(), 44);
        assert_eq!(of(Some("md5"), a), "unsupported algorithm md5");
        assert_eq!(of(None, json!({ "input": "!" })), "unable to decode input as base64");
    }
}
