"""What an application does with hvac: logs in by AppRole, takes, renews and gives back a database credential."""

import os
import sys

import hvac


def main() -> None:
    address, role = sys.argv[1:]
    root = hvac.Client(url=address, token=os.environ["ROOT_TOKEN"])
    assert root.is_authenticated()
    root.sys.enable_auth_method("approle")
    policy = f'path "database/creds/{role}" {{ capabilities = ["read"] }}'
    policy += '\npath "sys/leases/revoke" { capabilities = ["update"] }'
    root.sys.create_or_update_policy("app", policy)
    root.auth.approle.create_or_update_approle("app", token_policies=["app"], token_ttl="1h")
    role_id = root.auth.approle.read_role_id("app")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("app")["data"]["secret_id"]

    client = hvac.Client(url=address)
    login = client.auth.approle.login(role_id, secret_id)
    assert login["auth"]["policies"] == ["app", "default"], login["auth"]["policies"]
    assert client.is_authenticated()

    credential = client.secrets.database.generate_credentials(role)
    assert credential["lease_duration"] == 3600 and credential["renewable"] is True
    lease = credential["lease_id"]
    print(credential["data"]["username"], flush=True)
    sys.stdin.readline()  # the test looks into the database

    assert client.sys.renew_lease(lease, increment=1800)["lease_duration"] == 1800
    assert client.sys.read_lease(lease)["data"]["id"] == lease
    client.sys.revoke_lease(lease)

    try:
        client.secrets.database.generate_credentials("nobodys")
    except hvac.exceptions.Forbidden as error:
        assert error.errors == ["1 error occurred:\n\t* permission denied\n\n"], error.errors
    else:
        raise AssertionError("a role that the policy does not name was served")
    try:
        hvac.Client(url=address).auth.approle.login(role_id, "wrong")
    except hvac.exceptions.InvalidRequest as error:
        assert error.errors == ["invalid role or secret ID"], error.errors
    else:
        raise AssertionError("a wrong secret id logs in")
    print("revoked", flush=True)


main()
