// What applications do with node-vault: logins, credentials, renewal, revocation, wrapping, policies, KV, tokens.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline/promises');
const nodeVault = require('node-vault');

const [endpoint, role] = process.argv.slice(2);
const connect = (token) => nodeVault({ endpoint, token, requestOptions: { timeout: 30000 } });
const root = connect(process.env.ROOT_TOKEN);

// node-vault takes 200 and 204 for success only and throws errors[0] as the message.
const refused = (promise, status, text) =>
  assert.rejects(promise, (error) => error.response.statusCode === status && error.message.includes(text));

async function system() {
  const health = await root.health();
  assert.ok(health.initialized && !health.sealed && !health.standby);
  assert.equal((await root.status()).sealed, false);
  assert.deepEqual(await root.initialized(), { initialized: true });
  await refused(root.init({ secret_shares: 1, secret_threshold: 1 }), 400, 'Vault is already initialized');
  assert.equal((await root.mounts())['database/'].type, 'database');
  assert.equal((await root.auths())['token/'].type, 'token');
}

async function policies() {
  const rules = `path "database/creds/${role}" { capabilities = ["read"] }
    path "sys/leases/renew" { capabilities = ["update"] }`;
  await root.addPolicy({ name: 'node-app', rules });
  assert.equal((await root.getPolicy({ name: 'node-app' })).rules, rules);
  assert.ok((await root.policies()).policies.includes('node-app'));
  await root.addPolicy({ name: 'node-gone', rules });
  await root.removePolicy({ name: 'node-gone' });
  await refused(root.getPolicy({ name: 'node-gone' }), 404, '');
}

async function logIn() {
  await root.enableAuth({ mount_point: 'node-approle', type: 'approle' });
  const mount_point = 'node-approle';
  await root.addApproleRole({ mount_point, role_name: 'app', policies: 'node-app', token_ttl: 3600 });
  const { role_id } = (await root.getApproleRoleId({ mount_point, role_name: 'app' })).data;
  const { secret_id } = (await root.getApproleRoleSecret({ mount_point, role_name: 'app' })).data;
  const client = connect();
  const login = await client.approleLogin({ mount_point, role_id, secret_id });
  assert.deepEqual(login.auth.policies, ['default', 'node-app']);
  await refused(connect().approleLogin({ mount_point, role_id, secret_id: 'wrong' }), 400, 'invalid role or secret ID');

  await root.enableAuth({ mount_point: 'node-users', type: 'userpass' });
  await root.write('auth/node-users/users/ann', { password: "ann's own", token_policies: 'node-app' });
  const ann = { mount_point: 'node-users', username: 'ann', password: "ann's own" };
  assert.ok((await connect().userpassLogin(ann)).auth.client_token);
  await refused(connect().userpassLogin({ ...ann, password: 'wrong' }), 400, 'invalid username or password');
  return client;
}

async function credentials(client) {
  const path = `database/creds/${role}`;
  const taken = await client.read(path);
  assert.equal(taken.lease_duration, 3600);
  assert.equal((await client.renew({ lease_id: taken.lease_id, increment: 1800 })).lease_duration, 1800);
  await refused(client.read('database/creds/nobodys'), 403, 'permission denied');
  await refused(client.revoke({ lease_id: taken.lease_id }), 403, 'permission denied');
  console.log(taken.data.username);
  const terminal = readline.createInterface({ input: process.stdin });
  await terminal.question(''); // the test looks into the database
  terminal.close();
  await root.revoke({ lease_id: taken.lease_id });
  await refused(client.renew({ lease_id: taken.lease_id }), 400, 'lease not found');

  const more = await client.read(path);
  await root.revokePrefix({ path_prefix: path });
  await refused(client.renew({ lease_id: more.lease_id }), 400, 'lease not found');
  console.log('revoked');
}

async function wrapping() {
  const headers = { 'X-Vault-Token': root.token, 'X-Vault-Wrap-TTL': '5m' };
  const { wrap_info: info } = await root.read('sys/policies/acl/node-app', { headers });
  assert.equal(info.ttl, 300);
  const opened = await root.unwrap({ token: info.token });
  assert.equal(opened.data.name, 'node-app');
  await refused(root.unwrap({ token: info.token }), 400, 'does not exist');
}

async function keyValue() {
  await root.mount({ mount_point: 'node-kv', type: 'kv', options: { version: '2' } });
  assert.equal((await root.write('node-kv/data/a/b', { data: { user: 'one' } })).data.version, 1);
  await refused(root.write('node-kv/data/a/b', { options: { cas: 0 }, data: {} }), 400, 'check-and-set');
  await root.update('node-kv/data/a/b', { data: { more: 'two' } });
  assert.deepEqual((await root.read('node-kv/data/a/b')).data.data, { user: 'one', more: 'two' });
  assert.deepEqual((await root.list('node-kv/metadata/a')).data.keys, ['b']);
  await root.destroySecretVersions({ mount_point: 'node-kv', path: 'a/b', versions: [1] });
  await root.delete('node-kv/metadata/a/b');
  await refused(root.read('node-kv/data/a/b'), 404, '');
  await root.unmount({ mount_point: 'node-kv' });
}

async function tokens() {
  // A client takes the token over that it makes.
  const { auth } = await connect(root.token).tokenCreate({ policies: ['node-app'], ttl: '10m', display_name: 'child' });
  const child = connect(auth.client_token);
  assert.ok((await child.tokenLookupSelf()).data.ttl > 500);
  assert.equal((await child.tokenRenewSelf({ increment: 1200 })).auth.lease_duration, 1200);
  assert.equal((await root.tokenLookupAccessor({ accessor: auth.accessor })).data.id, '');
  await child.tokenRevokeSelf();
  await refused(child.tokenLookupSelf(), 403, 'permission denied');
}

async function main() {
  await system();
  await policies();
  const client = await logIn();
  await credentials(client);
  await wrapping();
  await keyValue();
  await tokens();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
