//! What every driver must do on a real server, one function per promise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lessor::base::random::SystemRandom;
use lessor::base::{Clock as _, Gate, Secret, Timestamp, clock::SystemClock, clock::add_seconds};
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
                for round in 0.. {
                    let user = User::new(&format!("v-crash-{number}-{round}"));
                    if let Err(error) = driver.create(new_user(&user, &statements), &Gate::opened()).await {
                        return error;
                    }
                }
                unreachable!("it goes on until the server is gone")
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
