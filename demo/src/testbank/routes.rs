//! Paths to pages: reads requests, asks the books, writes HTML or, for `Accept: application/json`, JSON.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use maud::Markup;
use serde::Serialize;

use super::books::{Answer, Behaviour, EnrolError, Enrolment, Reply, SessionKey};
use super::form::Form;
use super::{Site, codes, pages, portfolio};

/// Name of the session cookie.
const SESSION: &str = "tb_session";
/// Largest body of a form.
const BODY: usize = 16 * 1024;

type Shared = State<Arc<Site>>;

/// Every path of the bank.
pub(super) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/{slug}/", get(login_page))
        .route("/{slug}/login", post(login))
        .route("/{slug}/second-factor", post(second_factor))
        .route("/{slug}/positions", get(positions))
        .route("/{slug}/transactions", get(transactions))
        .route("/{slug}/logout", post(logout))
        .route("/{slug}/transfer", any(transfer))
        .route("/{slug}/transfer/{*rest}", any(transfer_below))
        .route("/phone/{number}/inbox", get(inbox))
        .route("/phone/{number}/authenticator", get(authenticator))
        .route("/_admin/stats", get(stats))
        .route("/_admin/accounts", post(enrol))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(site)
}

async fn login_page(State(site): Shared, Path(slug): Path<String>) -> Response {
    match site.books().institution(&slug) {
        Some(institution) => private(StatusCode::OK, pages::login(institution)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn login(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(form) = Form::parse(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let now = site.now();
    let reply = site.books().sign_in(&slug, &form, now);
    match reply {
        Ok(reply) => respond(&site, &slug, &headers, reply),
        Err(error) => unavailable(&error),
    }
}

async fn second_factor(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(form) = Form::parse(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let now = site.now();
    let answer = match (session(&headers), form.value("code")) {
        (None, _) => Answer::SignInFirst,
        (_, None | Some([])) => Answer::FieldMissing { field: "code".to_owned() },
        (Some(key), Some(code)) => site.books().submit_code(&slug, key, code, now),
    };
    respond(&site, &slug, &headers, answer.into())
}

async fn positions(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    let now = site.now();
    let name = session(&headers).and_then(|key| {
        let mut books = site.books();
        let account = books.signed_in_account(&slug, key, now)?;
        account.counts.positions_read += 1;
        Some(account.name.clone())
    });
    let Some(name) = name else {
        return respond(&site, &slug, &headers, Answer::SignInFirst.into());
    };
    let held = portfolio::positions(&name, now);
    show(&site, &slug, &headers, &held, |institution| pages::positions(institution, &held))
}

async fn transactions(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    let now = site.now();
    let name =
        session(&headers).and_then(|key| site.books().signed_in_account(&slug, key, now).map(|a| a.name.clone()));
    let Some(name) = name else {
        return respond(&site, &slug, &headers, Answer::SignInFirst.into());
    };
    let booked = portfolio::transactions(&name);
    show(&site, &slug, &headers, &booked, |institution| pages::transactions(institution, &booked))
}

async fn logout(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    if let Some(key) = session(&headers) {
        site.books().sign_out(key);
    }
    let gone = format!("{SESSION}=; Path=/{slug}; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &gone);
    response
}

async fn transfer(State(site): Shared, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    reached_transfer(&site, &slug, &headers)
}

async fn transfer_below(State(site): Shared, Path((slug, _)): Path<(String, String)>, headers: HeaderMap) -> Response {
    reached_transfer(&site, &slug, &headers)
}

fn reached_transfer(site: &Site, slug: &str, headers: &HeaderMap) -> Response {
    let mut books = site.books();
    books.transfer_reached(session(headers));
    match books.institution(slug) {
        Some(institution) => private(StatusCode::FORBIDDEN, pages::transfer(institution)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn inbox(State(site): Shared, Path(number): Path<String>, headers: HeaderMap) -> Response {
    let messages = bearer(&headers).and_then(|token| site.books().inbox(&number, token));
    // A wrong number and a wrong token look the same.
    messages.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |m| private(StatusCode::OK, Json(m)))
}

async fn authenticator(State(site): Shared, Path(number): Path<String>, headers: HeaderMap) -> Response {
    let now = site.now();
    let codes = bearer(&headers).and_then(|token| site.books().shown_codes(&number, token, now));
    codes.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |c| private(StatusCode::OK, Json(c)))
}

async fn stats(State(site): Shared, headers: HeaderMap) -> Response {
    if !is_admin(&site, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let now = site.now();
    let stats = site.books().stats(now);
    private(StatusCode::OK, Json(stats))
}

/// Takes a form: `institution`, `phone`, optionally `behaviour`, and `field.<key>` for each login field.
async fn enrol(State(site): Shared, headers: HeaderMap, body: Bytes) -> Response {
    if !is_admin(&site, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let refuse = |text: String| (StatusCode::UNPROCESSABLE_ENTITY, text).into_response();
    let Some(form) = Form::parse(&body) else {
        return refuse("body: not application/x-www-form-urlencoded".to_owned());
    };
    let behaviour = form.text("behaviour").map(Behaviour::named);
    if behaviour == Some(None) {
        return refuse("behaviour: use LOCKED, EXPIRED_PASSWORD or SITE_DOWN, or leave it out".to_owned());
    }
    let field = |(key, value)| Some((str::strip_prefix(key, "field.")?, value));
    let fields: Vec<(&str, &[u8])> = form.fields().filter_map(field).collect();
    let enrolled = site.books().enrol(&Enrolment {
        institution: form.text("institution").unwrap_or_default(),
        phone: form.text("phone").unwrap_or_default(),
        fields: &fields,
        behaviour: behaviour.flatten(),
    });
    match enrolled {
        Ok(enrolled) => private(StatusCode::CREATED, Json(enrolled)),
        Err(EnrolError::Codes(error)) => unavailable(&error),
        Err(error) => refuse(error.to_string()),
    }
}

/// An answer in the form the client reads, with its cookie.
fn respond(site: &Site, slug: &str, headers: &HeaderMap, reply: Reply) -> Response {
    let status = status(&reply.answer);
    let books = site.books();
    let Some(institution) = books.institution(slug) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = if wants_json(headers) {
        private(status, Json(&reply.answer))
    } else {
        private(status, pages::answer(institution, &reply.answer))
    };
    if let Some(cookie) = reply.cookie {
        let line = format!("{SESSION}={cookie}; Path=/{slug}; Secure; HttpOnly; SameSite=Strict");
        set_cookie(&mut response, &line);
    }
    response
}

fn status(answer: &Answer) -> StatusCode {
    match answer {
        Answer::SignedIn | Answer::CodeNeeded { .. } => StatusCode::OK,
        Answer::WrongLogin { .. } | Answer::WrongCode { .. } | Answer::SignInFirst => StatusCode::UNAUTHORIZED,
        Answer::CodeExpired => StatusCode::GONE,
        Answer::Locked { .. } => StatusCode::LOCKED,
        Answer::PasswordExpired => StatusCode::FORBIDDEN,
        Answer::FieldMissing { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Answer::SiteDown => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Data as JSON or as a page.
fn show(
    site: &Site,
    slug: &str,
    headers: &HeaderMap,
    data: &impl Serialize,
    page: impl FnOnce(&cofre_testkit::institutions::Institution) -> Markup,
) -> Response {
    match site.books().institution(slug) {
        Some(_) if wants_json(headers) => private(StatusCode::OK, Json(data)),
        Some(institution) => private(StatusCode::OK, page(institution)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn private(status: StatusCode, body: impl IntoResponse) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], body).into_response()
}

fn unavailable(error: &codes::CodesError) -> Response {
    tracing::warn!(%error, "no randomness");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn set_cookie(response: &mut Response, line: &str) {
    if let Ok(mut value) = HeaderValue::from_str(line) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    text(headers.get(ACCEPT)).is_some_and(|accept| accept.contains("application/json"))
}

fn session(headers: &HeaderMap) -> Option<SessionKey> {
    text(headers.get(COOKIE))?
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix(SESSION)?.strip_prefix('='))
        .map(|cookie| codes::digest(cookie.as_bytes()))
}

fn is_admin(site: &Site, headers: &HeaderMap) -> bool {
    // Digests are compared, so the time taken says nothing about the token.
    bearer(headers).is_some_and(|token| codes::digest(token.as_bytes()) == site.admin_token)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers.get(AUTHORIZATION))?.strip_prefix("Bearer ")
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}
