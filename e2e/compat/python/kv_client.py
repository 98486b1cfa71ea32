"""What programs do with hvac besides credentials: secrets in both versions of KV, wrapped answers, tokens and cubbyholes."""

import os
import sys

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest


def refused(error: type[Exception], call, *arguments, **named) -> Exception:
    try:
        call(*arguments, **named)
    except error as found:
        return found
    raise AssertionError(f"{call} was not refused")


def version_2(root: hvac.Client) -> None:
    kv = root.secrets.kv.v2
    assert kv.create_or_update_secret("app/db", {"user": "a"}, cas=0)["data"]["version"] == 1
    mismatch = refused(InvalidRequest, kv.create_or_update_secret, "app/db", {"user": "b"}, cas=0)
    assert mismatch.errors == ["check-and-set parameter did not match the current version"], mismatch.errors
    assert kv.patch("app/db", {"password": "p"})["data"]["version"] == 2
    assert kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"user": "a", "password": "p"}
    assert kv.read_secret_version("app/db", version=1, raise_on_deleted_version=True)["data"]["data"] == {"user": "a"}
    assert kv.list_secrets("")["data"]["keys"] == ["app/"]
    kv.delete_latest_version_of_secret("app/db")
    refused(InvalidPath, kv.read_secret_version, "app/db", raise_on_deleted_version=True)
    deleted = kv.read_secret_version("app/db", raise_on_deleted_version=False)
    assert deleted["data"]["data"] is None and deleted["data"]["metadata"]["deletion_time"]
    kv.undelete_secret_versions("app/db", [2])
    kv.destroy_secret_versions("app/db", [1])
    kv.update_metadata("app/db", max_versions=3, custom_metadata={"team": "x"})
    metadata = kv.read_secret_metadata("app/db")["data"]
    assert metadata["versions"]["1"]["destroyed"] and metadata["custom_metadata"] == {"team": "x"}, metadata
    kv.configure(max_versions=5, cas_required=False, delete_version_after="3h")
    assert kv.read_configuration()["data"]["delete_version_after"] == "3h0m0s"
    kv.delete_metadata_and_all_versions("app/db")
    refused(InvalidPath, kv.read_secret_metadata, "app/db")


def version_1(root: hvac.Client) -> None:
    root.sys.enable_secrets_engine("kv", path="one", options={"version": "1"})
    kv = root.secrets.kv.v1
    kv.create_or_update_secret("a", {"k": "v", "ttl": "5m"}, mount_point="one")
    read = kv.read_secret("a", mount_point="one")
    assert read["data"]["k"] == "v" and read["lease_duration"] == 300, read
    assert kv.list_secrets("", mount_point="one")["data"]["keys"] == ["a"]
    kv.delete_secret("a", mount_point="one")
    refused(InvalidPath, kv.read_secret, "a", mount_point="one")


def wrapping(root: hvac.Client, address: str) -> None:
    wrapped = root.sys.wrap({"a": "b"}, ttl=60)["wrap_info"]["token"]
    assert hvac.Client(url=address, token=wrapped).sys.unwrap()["data"] == {"a": "b"}
    again = refused(InvalidRequest, root.sys.unwrap, wrapped)
    assert "does not exist" in again.errors[0], again.errors
    token = root.auth.token.create(policies=["default"], ttl="1h", wrap_ttl="1m")["wrap_info"]
    auth = root.sys.unwrap(token["token"])["auth"]
    assert auth["accessor"] == token["wrapped_accessor"]


def tokens(root: hvac.Client, address: str) -> None:
    own = root.auth.token.create(policies=["default"], ttl="1h")["auth"]
    client = hvac.Client(url=address, token=own["client_token"])
    client.write_data("cubbyhole/mine", data={"x": "y"})
    assert client.read("cubbyhole/mine")["data"] == {"x": "y"}
    assert root.read("cubbyhole/mine") is None
    refused(Forbidden, client.secrets.kv.v2.read_secret_version, "a", raise_on_deleted_version=True)
    assert client.auth.token.renew_self(increment="2h")["auth"]["lease_duration"] == 7200
    assert root.auth.token.lookup_accessor(own["accessor"])["data"]["accessor"] == own["accessor"]
    root.auth.token.create_or_update_role("r", allowed_policies=["default"], orphan=True, token_period="10m")
    assert root.auth.token.list_roles()["data"]["keys"] == ["r"]
    made = root.auth.token.create(role_name="r")["auth"]
    assert made["orphan"] and made["lease_duration"] == 600, made
    batch = root.auth.token.create(policies=["default"], ttl="1h", type="batch")["auth"]
    assert batch["token_type"] == "batch"
    assert hvac.Client(url=address, token=batch["client_token"]).is_authenticated()
    client.auth.token.revoke_self()
    assert not client.is_authenticated()


def main() -> None:
    (address,) = sys.argv[1:]
    root = hvac.Client(url=address, token=os.environ["ROOT_TOKEN"])
    version_2(root)
    version_1(root)
    wrapping(root, address)
    tokens(root, address)


main()
