//! What every driver must do on a real server, one function per promise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lessor::base::random::SystemRandom;
use lessor::base::{Clock as _, Gate, Secret, Timestamp, clock::SystemClock, clock::add_seconds, gate};
use lessor::drivers::{self, Change, Credential, Driver, DropUser, Kind, NewUser, Settings};
use lessor_e2e::eventually::eventually;
use serde_json::Value;
use tokio::task::JoinSet;

use super::recipe::Recipe;

/// A user of a test.
pub struct User {
    pub name: String,
    pub password: Secret,
}

impl User {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), password: Secret::new(format!("Aa1-{name}-first")) }
    }
}

pub fn open<R: Recipe>(recipe: &R) -> Arc<dyn Driver> {
    open_with::<R>(&recipe.fields())
}

/// The driver with other fields than the recipe's own.
pub fn open_with<R: Recipe>(fields: &Value) -> Arc<dyn Driver> {
    let spec = drivers::find(R::PLUGIN).unwrap();
    let fields = fields.as_object().unwrap().clone().into();
    drivers::open(spec, Settings { fields, random: Arc::new(SystemRandom) }).unwrap()
}

pub fn in_an_hour() -> Timestamp {
    add_seconds(SystemClock.now(), 3600)
}

pub async fn create<R: Recipe>(recipe: &R, driver: &dyn Driver, user: &User) -> Result<(), drivers::Error> {
    driver.create(new_user(user, &recipe.creation()), &Gate::opened()).await
}

/// A user with the given statements, whose lease is recorded.
pub fn new_user<'a>(user: &'a User, statements: &'a [String]) -> NewUser<'a> {
    NewUser {
        username: &user.name,
        credential: Credential::password(&user.password),
        expires: in_an_hour(),
        statements,
        rollback: &[],
        mark: "lessor test",
        login: true,
    }
}

/// A change of nothing yet.
pub fn change(username: &str) -> Change<'_> {
    Change { username, credential: None, expires: None, login: None, statements: &[] }
}

pub async fn delete(driver: &dyn Driver, name: &str) -> Result<(), drivers::Error> {
    driver.delete(DropUser { username: name, statements: &[], end_sessions: true }).await
}

/// Create, log in, work, be denied, renew, change the password, end, be refused, end again.
pub async fn whole_life<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    driver.verify().await.unwrap();
    let user = User::new("v-life");
    create(&recipe, &*driver, &user).await.unwrap();
    let session = recipe.login(&user.name, &user.password).await.unwrap();
    session.allowed().await.unwrap();
    session.denied().await.unwrap_err();
    recipe.login(&user.name, &Secret::new("wrong")).await.err().expect("a wrong password is refused");

    let later = add_seconds(in_an_hour(), 7200);
    let renewal = Change { expires: Some(later), ..change(&user.name) };
    driver.update(renewal, &Gate::opened()).await.unwrap();
    if let Some(expiry) = recipe.expiry(&user.name).await {
        assert_eq!(expiry, later.as_second());
    }

    let second = Secret::new("Bb2-second");
    let rotation = Change { credential: Some(Credential::password(&second)), ..change(&user.name) };
    driver.update(rotation, &Gate::opened()).await.unwrap();
    recipe.login(&user.name, &user.password).await.err().expect("the old password is refused");
    recipe.login(&user.name, &second).await.unwrap();

    delete(&*driver, &user.name).await.unwrap();
    recipe.login(&user.name, &second).await.err().expect("nobody logs in as a user that was ended");
    assert_eq!(recipe.users("v-life").await, 0);
    delete(&*driver, &user.name).await.expect("ending an absent user is success");
}

/// The administrator's own password and that of an account that nobody here made: changed, proved by logins, the old refused.
pub async fn own_passwords_rotate<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    let account = User::new("account");
    create(&recipe, &*driver, &account).await.unwrap();
    for (round, rotated) in [Secret::new("Cc3-third"), Secret::new("Dd4-fourth")].iter().enumerate() {
        let rotation = Change { credential: Some(Credential::password(rotated)), ..change(&account.name) };
        driver.update(rotation, &Gate::opened()).await.unwrap();
        recipe.login(&account.name, rotated).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    recipe.login(&account.name, &account.password).await.err().expect("the first password is refused");

    let fields = recipe.fields();
    let (name, next) = (fields["username"].as_str().unwrap().to_owned(), Secret::new("Ee5-administrator"));
    let rotation = Change { credential: Some(Credential::password(&next)), ..change(&name) };
    driver.update(rotation, &Gate::opened()).await.unwrap();
    assert_eq!(open_with::<R>(&fields).verify().await.unwrap_err().kind(), Kind::Refused, "the old password");
    let mut after = fields.clone();
    after["password"] = next.expose().into();
    let driver = open_with::<R>(&after);
    driver.verify().await.unwrap();
    delete(&*driver, &account.name).await.unwrap();

    let absent = Change { credential: Some(Credential::password(&next)), ..change("v-absent") };
    assert_eq!(driver.update(absent, &Gate::opened()).await.unwrap_err().kind(), Kind::Absent);
}

/// A role may say that its users' sessions live on until they end by themselves.
pub async fn sessions_stay_where_that_is_wanted<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    let user = User::new("v-stays");
    create(&recipe, &*driver, &user).await.unwrap();
    let session = recipe.login(&user.name, &user.password).await.unwrap();
    driver.delete(DropUser { username: &user.name, statements: &[], end_sessions: false }).await.unwrap();
    recipe.login(&user.name, &user.password).await.err().expect("no new session");
    session.alive().await.expect("the session that was there goes on");
}

/// The users that the driver made are told from others, whatever these are called.
pub async fn users_are_known_by_their_mark<R: Recipe>() {
    if !drivers::find(R::PLUGIN).unwrap().capabilities.marks_users {
        return;
    }
    let recipe = R::start().await;
    let driver = open(&recipe);
    let (marked, foreign) = (User::new("v-marked"), User::new("v-foreign"));
    create(&recipe, &*driver, &marked).await.unwrap();
    let statements = recipe.creation();
    let of_another = NewUser { mark: "lessor another", ..new_user(&foreign, &statements) };
    driver.create(of_another, &Gate::opened()).await.unwrap();
    let users = driver.users("lessor test").await.unwrap();
    let is_marked = |name: &str| users.iter().find(|user| user.username == name).map(|user| user.marked);
    assert_eq!((is_marked("v-marked"), is_marked("v-foreign")), (Some(true), Some(false)), "{users:?}");
}

/// A user that is made ahead cannot log in before it may.
pub async fn spares_wait_for_their_login<R: Recipe>() {
    if !drivers::find(R::PLUGIN).unwrap().capabilities.disables_logins {
        return;
    }
    let recipe = R::start().await;
    let driver = open(&recipe);
    let (spare, statements) = (User::new("v-spare"), recipe.creation());
    let waiting = NewUser { login: false, ..new_user(&spare, &statements) };
    driver.create(waiting, &Gate::opened()).await.unwrap();
    recipe.login(&spare.name, &spare.password).await.err().expect("it may not log in yet");
    let later = add_seconds(in_an_hour(), 600);
    let handed_out = Change { login: Some(true), expires: Some(later), ..change(&spare.name) };
    driver.update(handed_out, &Gate::opened()).await.unwrap();
    recipe.login(&spare.name, &spare.password).await.unwrap().allowed().await.unwrap();
    if let Some(expiry) = recipe.expiry(&spare.name).await {
        assert_eq!(expiry, later.as_second());
    }
}

/// While a lease is being recorded its user does not exist, and when that fails it never did.
pub async fn nobody_exists_before_the_lease<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    let (first, second, statements) = (User::new("v-gate-a"), User::new("v-gate-b"), recipe.creation());
    let (opener, recorded) = gate::new();
    let (never, refused) = gate::new();
    let making = driver.create(new_user(&first, &statements), &recorded);
    let failing = driver.create(new_user(&second, &statements), &refused);
    let (made, failed, ()) = tokio::join!(making, failing, async {
        assert_eq!(recipe.users("v-gate-").await, 0);
        drop(never);
        opener.open();
    });
    made.unwrap();
    failed.expect_err("its lease was not recorded");
    assert_eq!(recipe.users("v-gate-").await, 1);
    recipe.login(&first.name, &first.password).await.unwrap();
}

/// A user that works and owns things is ended with its sessions; what it made stays or goes, it does not.
pub async fn sessions_and_objects_hold_no_user<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    let user = User::new("v-owner");
    create(&recipe, &*driver, &user).await.unwrap();
    let session = recipe.login(&user.name, &user.password).await.unwrap();
    session.own_something().await.unwrap();
    delete(&*driver, &user.name).await.unwrap();
    assert_eq!(recipe.users("v-owner").await, 0);
    if drivers::find(R::PLUGIN).unwrap().capabilities.ends_sessions {
        session.allowed().await.expect_err("the session was ended");
    }
}

/// Many at once, of whatever conflicts with itself.
pub async fn many_at_once<R: Recipe>() {
    const USERS: usize = 200;
    let recipe = R::start().await;
    let driver = open(&recipe);
    let names: Vec<_> = (0..USERS).map(|number| format!("v-many-{number}")).collect();
    create_all(&driver, &names, &recipe.creation()).await;
    assert_eq!(recipe.users("v-many-").await, USERS);
    delete_all(&driver, &names).await;
    assert_eq!(recipe.users("v-many-").await, 0);
}

/// Creates all at once, each in a task of its own as requests are.
pub async fn create_all(driver: &Arc<dyn Driver>, names: &[String], statements: &[String]) {
    let mut calls = JoinSet::new();
    for name in names {
        let (driver, statements, user) = (driver.clone(), statements.to_vec(), User::new(name));
        calls.spawn(async move { driver.create(new_user(&user, &statements), &Gate::opened()).await });
    }
    calls.join_all().await.into_iter().for_each(Result::unwrap);
}

/// Ends all at once.
pub async fn delete_all(driver: &Arc<dyn Driver>, names: &[String]) {
    let mut calls = JoinSet::new();
    for name in names {
        let (driver, name) = (driver.clone(), name.clone());
        calls.spawn(async move { delete(&*driver, &name).await });
    }
    calls.join_all().await.into_iter().for_each(Result::unwrap);
}

/// A crash under load: every call ends in bounded time with an error that says "again", and the driver recovers by itself.
pub async fn a_crash_is_survived<R: Recipe>() {
    let mut recipe = R::start().await;
    let driver = open(&recipe);
    create(&recipe, &*driver, &User::new("v-crash-before")).await.unwrap();
    let statements = recipe.creation();
    let load: Vec<_> = (0..16)
        .map(|number| {
            let (driver, statements) = (driver.clone(), statements.clone());
            tokio::spawn(async move {
                let mut round = 0;
                loop {
                    let user = User::new(&format!("v-crash-{number}-{round}"));
                    if let Err(error) = driver.create(new_user(&user, &statements), &Gate::opened()).await {
                        return error;
                    }
                    round += 1;
                }
            })
        })
        .collect();
    eventually("the load runs", Duration::from_secs(20), || async {
        let users = recipe.users("v-crash-").await;
        if users > 20 { Ok(()) } else { Err(users) }
    })
    .await;
    recipe.kill();
    let begun = Instant::now();
    for call in load {
        let error = call.await.unwrap();
        assert!(error.retryable(), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "the calls took {:?} to fail", begun.elapsed());
    let error = driver.verify().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");

    recipe.start_again().await;
    let after = User::new("v-crash-after");
    create(&recipe, &*driver, &after).await.expect("the first call on the server that is back succeeds");
    recipe.login(&after.name, &after.password).await.unwrap();
}

/// What a caller sees of a failure names the place, and neither the administrator's password nor the user's.
pub async fn errors_keep_secrets<R: Recipe>() {
    let recipe = R::start().await;
    let driver = open(&recipe);
    let user = User::new("v-broken");
    let statements = ["NOT A STATEMENT '{{password}}' {{password}}".to_owned()];
    let error = driver.create(new_user(&user, &statements), &Gate::opened()).await.unwrap_err();
    assert!(!error.retryable() && !error.message().is_empty(), "{error}");
    let admin = recipe.fields()["password"].as_str().unwrap().to_owned();
    for secret in [user.password.expose(), &admin, "SCRAM-SHA-256$"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    create(&recipe, &*driver, &user).await.expect("the connection is sound after a refused statement");
}
