//! Inboxes as requests see them.

use serde_json::{Value, json};

use crate::testing::{Answer, TestDoor};

async fn ack(door: &TestDoor, body: Value) -> Value {
    door.post("/inbox/ada/ack", &body.to_string()).await.json().await
}

/// What is unread, by its data.
async fn unread(door: &TestDoor) -> Vec<String> {
    let page = door.get("/inbox/ada").await.json().await;
    let events = page["events"].as_array().unwrap();
    assert_eq!(page["unread"], events.len());
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

async fn listen(door: &TestDoor, query: &str) -> Answer {
    let mut stream = door.get(&format!("/events?user=ada&inbox=1{query}")).await;
    stream.read_until("fanfare.hello").await;
    stream
}

/// The id of the frame in some text that has this data.
fn id_of<'a>(text: &'a str, data: &str) -> &'a str {
    let (before, _) = text.split_once(&format!("data: {data}\n\n")).unwrap();
    before.rsplit("id: ").next().unwrap().lines().next().unwrap()
}

#[tokio::test]
async fn a_message_waits_for_its_user_until_it_is_acknowledged() {
    let door = TestDoor::open();
    let receipt = door.post("/inbox/ada?event=mail", "one").await.json().await;
    assert_eq!((&receipt["channel"], &receipt["streams"]), (&"@inbox/ada".into(), &0.into()));
    door.post("/publish", r#"{"user": "ada", "data": {"n": 2}}"#).await;
    let (mut phone, mut desk) = (listen(&door, "").await, listen(&door, "&as=json&channel=news").await);
    let id = receipt["id"].as_str().unwrap();
    let text = phone.read_until("data: {\"n\": 2}\n\n").await.to_owned();
    assert!(text.contains(&format!("event: mail\nchannel: @inbox/ada\nkey: {id}\ndata: one\n\n")), "{text}");
    let text = desk.read_until("{\"n\": 2}").await.to_owned();
    assert!(text.contains(&format!("\"key\":\"{id}\",\"event\":\"mail\",\"data\":\"one\",\"id\":\"{id}\"")), "{text}");
    door.post("/channels/news", "also").await;
    desk.read_until("also").await;
    assert_eq!(ack(&door, json!({"ids": [id]})).await, json!({"user": "ada", "acknowledged": 1, "unread": 1}));
    for stream in [&mut phone, &mut desk] {
        let text = stream.read_until("fanfare.delete").await.to_owned() + stream.read_until("\n\n").await;
        let data = format!("data: {{\"channel\":\"@inbox/ada\",\"key\":\"{id}\",\"id\":\"{id}\"}}\n\n");
        assert!(text.contains(&data), "{text}");
    }
    let mut late = listen(&door, "").await;
    let text = late.read_until("data: {\"n\": 2}\n\n").await;
    assert!(!text.contains("data: one") && !text.contains("fanfare.delete"), "{text}");
    assert_eq!(ack(&door, json!({"ids": [id]})).await["acknowledged"], 0, "it is acknowledged already");
}

#[tokio::test]
async fn up_to_an_id_means_at_or_below_also_with_an_id_of_a_backfill() {
    let door = TestDoor::open();
    let mut ids = Vec::new();
    for text in ["1", "2", "3", "4", "5"] {
        let receipt = door.post("/inbox/ada", text).await.json().await;
        ids.push(receipt["id"].as_str().unwrap().to_owned());
        door.post("/channels/a", "between").await;
    }
    assert_eq!(ack(&door, json!({"upto": ids[1]})).await, json!({"user": "ada", "acknowledged": 2, "unread": 3}));
    let mut stream = listen(&door, "").await;
    let text = stream.read_until("data: 3\n\n").await.to_owned();
    let id = id_of(&text, "3");
    assert!(id.contains('.'), "{id} is of a backfill");
    assert_eq!(ack(&door, json!({"upto": id})).await["acknowledged"], 1);
    assert_eq!(unread(&door).await, ["4", "5"]);
    let text = stream.read_until("data: 4\n\n").await.to_owned();
    assert_eq!(ack(&door, json!({"ids": [id_of(&text, "4")]})).await["acknowledged"], 1);
    assert_eq!(ack(&door, json!({"keys": [ids[4], "none"]})).await["acknowledged"], 1);
    assert_eq!(unread(&door).await, Vec::<String>::new());
    assert_eq!(ack(&door, json!({"upto": ids[4]})).await, json!({"user": "ada", "acknowledged": 0, "unread": 0}));
}

#[tokio::test]
async fn an_inbox_is_read_in_pages_and_emptied_at_once() {
    let door = TestDoor::open();
    let items: Vec<Value> = (0..1_000).map(|n| json!({"user": "ada", "data": n})).collect();
    let batch = door.post("/publish", &Value::from(items).to_string()).await.json().await;
    assert_eq!(batch["results"].as_array().unwrap().len(), 1_000);
    let first = door.get("/inbox/ada?limit=600").await.json().await;
    assert_eq!((first["events"].as_array().unwrap().len(), &first["unread"]), (600, &1_000.into()));
    assert!(first["bytes"].as_u64().unwrap() > 1_000);
    let next = first["next"].as_str().unwrap();
    let second = door.get(&format!("/inbox/ada?limit=600&after={next}")).await.json().await;
    let data: Vec<u64> = second["events"].as_array().unwrap().iter().map(|e| e["data"].as_u64().unwrap()).collect();
    assert_eq!((data, &second["next"]), ((600..1_000).collect(), &Value::Null));
    let commits = door.hub.stats().commits;
    let emptied = door.request("DELETE", "/inbox/ada", &[], "").await.json().await;
    assert_eq!(emptied, json!({"user": "ada", "acknowledged": 1_000, "unread": 0}));
    let stats = door.hub.stats();
    assert_eq!((stats.commits - commits, stats.acknowledged["emptied"]), (1, 1_000));
    let again = door.request("DELETE", "/inbox/nobody", &[], "").await.json().await;
    assert_eq!(again, json!({"user": "nobody", "acknowledged": 0, "unread": 0}));
}

#[tokio::test]
async fn a_device_that_comes_back_acknowledges_what_it_had() {
    let door = TestDoor::open();
    for text in ["1", "2", "3"] {
        door.post("/inbox/ada", text).await;
    }
    let query = "&device=phone&ack=auto";
    let mut stream = listen(&door, query).await;
    let text = stream.read_until("data: 2\n\n").await.to_owned();
    let id = id_of(&text, "2").to_owned();
    drop(stream);
    assert_eq!(unread(&door).await, ["1", "2", "3"], "nothing before it comes back");
    let mut stream = listen(&door, &format!("{query}&lastEventId={id}")).await;
    assert_eq!(unread(&door).await, ["3"]);
    let text = stream.read_until("data: 3\n\n").await.to_owned();
    assert!(!text.contains("data: 2\n"), "{text}");
    door.post("/inbox/ada", "4").await;
    let text = stream.read_until("data: 4\n\n").await.to_owned();
    drop(stream);
    let id = id_of(&text, "4").to_owned();
    let mut stream = listen(&door, &format!("{query}&lastEventId={id}")).await;
    assert_eq!(unread(&door).await, Vec::<String>::new());
    assert_eq!(door.hub.stats().acknowledged["cursor"], 4);
    door.post("/inbox/ada", "5").await;
    stream.read_until("data: 5\n\n").await;
}

#[tokio::test]
async fn an_id_that_says_nothing_of_the_device_acknowledges_nothing() {
    let door = TestDoor::open();
    door.post("/inbox/ada", "1").await;
    let foreign = door.post("/channels/a", "x").await.json().await["id"].as_str().unwrap().to_owned();
    // Somebody's id: what is below it the device never had.
    let mut tablet = listen(&door, &format!("&device=tablet&ack=auto&lastEventId={foreign}")).await;
    assert_eq!(unread(&door).await, ["1"]);
    door.post("/inbox/ada", "2").await;
    let text = tablet.read_until("data: 2\n\n").await.to_owned();
    let id = id_of(&text, "2").to_owned();
    drop(listen(&door, &format!("&device=tablet&ack=auto&lastEventId={id}")).await);
    assert_eq!(unread(&door).await, ["1"], "only what came to the device");
    // It begins anew with all there is, and an id from before that says nothing of it.
    door.post("/inbox/ada", "3").await;
    drop(listen(&door, "&device=tablet&ack=auto").await);
    drop(listen(&door, &format!("&device=tablet&ack=auto&lastEventId={id}")).await);
    assert_eq!(unread(&door).await, ["1", "3"]);
    let mut tablet = listen(&door, "&device=tablet&ack=auto").await;
    let text = tablet.read_until("data: 3\n\n").await.to_owned();
    drop(listen(&door, &format!("&device=tablet&ack=auto&lastEventId={}", id_of(&text, "3"))).await);
    assert_eq!(unread(&door).await, Vec::<String>::new());
    // A newer id of another stream says nothing of it either, be it of the same user's other device.
    door.post("/inbox/ada", "5").await;
    let newer = door.post("/channels/a", "y").await.json().await["id"].as_str().unwrap().to_owned();
    let mut wall = listen(&door, "&device=wall&ack=auto").await;
    let of_wall = id_of(wall.read_until("data: 5\n\n").await, "5").to_owned();
    for foreign in [newer, of_wall] {
        drop(listen(&door, "&device=tablet&ack=auto").await);
        drop(listen(&door, &format!("&device=tablet&ack=auto&lastEventId={foreign}")).await);
        assert_eq!(unread(&door).await, ["5"], "{foreign}");
    }
    door.request("DELETE", "/inbox/ada", &[], "").await;
    // Explicit is explicit.
    door.post("/inbox/ada", "4").await;
    let mut stream = listen(&door, "&device=phone").await;
    let text = stream.read_until("data: 4\n\n").await.to_owned();
    drop(listen(&door, &format!("&device=phone&lastEventId={}", id_of(&text, "4"))).await);
    assert_eq!(unread(&door).await, ["4"]);
}

#[tokio::test]
async fn inboxes_are_reached_by_their_users_alone() {
    let door = TestDoor::open();
    door.post("/inbox/ada", "secret").await;
    for (method, path) in [
        ("GET", "/events?channel=@inbox/ada"),
        ("GET", "/events?pattern=@*"),
        ("GET", "/events?pattern=@inbox/a*"),
        ("GET", "/events?pattern=@dev*"),
        ("GET", "/channels/@inbox%2Fada"),
        ("GET", "/channels/@inbox%2Fada/history"),
        ("GET", "/history?channel=@devices/ada"),
        ("POST", "/channels/@inbox%2Fada"),
        ("POST", "/channels?channel=@inbox/ada"),
        ("POST", "/channels/@inbox%2Fada/end"),
        ("POST", "/channels/@inbox%2Fada/producer"),
    ] {
        let answer = door.request(method, path, &[], "x").await;
        assert_eq!(answer.status.as_u16(), 403, "{method} {path}");
        let problem = answer.problem().await;
        assert_eq!(problem["code"], "reserved_channel", "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("`POST /inbox/{user}`"), "{path}: {problem}");
    }
    let mut open = door.get("/events?pattern=@system/*&pattern=*").await;
    open.read_until("fanfare.hello").await;
    door.post("/inbox/ada", "also secret").await;
    door.post("/channels/a", "end").await;
    assert!(!open.read_until("data: end").await.contains("secret"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let door = TestDoor::open();
    door.post("/inbox/ada", "x").await;
    let long = "x".repeat(65);
    for (query, named) in [
        ("inbox=1", "`inbox` is given without `user`"),
        ("user=ada&inbox=yes", "`inbox` is \"yes\"; it takes `1`, `0`"),
        ("user=ada&device=phone", "give `inbox`, too"),
        ("user=ada&inbox=1&ack=auto", "there is no `device`"),
        ("user=ada&inbox=1&ack=always", "`ack` is \"always\"; it takes `auto`, `explicit`"),
        ("user=ada&inbox=1&device=", "`device` must have 1 to 64 bytes; it has 0"),
        (&format!("user=ada&inbox=1&device={long}"), "it has 65"),
    ] {
        let problem = door.get(&format!("/events?{query}")).await.problem().await;
        assert_eq!(problem["code"], "malformed", "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
    let ids = json!({"ids": vec!["000001-00000000-0000000001"; 1_001]}).to_string();
    for (body, code) in [
        ("{}", "malformed"),
        (r#"{"upto": "x", "keys": []}"#, "malformed"),
        (r#"{"upto": "x"}"#, "unknown_id"),
        (r#"{"ids": ["000001-00000000-0000000001"]}"#, "unknown_id"),
        (r#"{"upto": 7}"#, "malformed"),
        (r#"{"until": "x"}"#, "malformed"),
        ("[]", "malformed"),
        (&ids, "too_large"),
    ] {
        let problem = door.post("/inbox/ada/ack", body).await.problem().await;
        assert_eq!(problem["code"], code, "{body}: {problem}");
    }
    for body in [
        r#"{"user": "ada", "channel": "a", "data": 1}"#,
        r#"{"user": "ada", "to": "everyone", "data": 1}"#,
        r#"{"user": "", "data": 1}"#,
        r#"{"user": "a*", "data": 1}"#,
    ] {
        let problem = door.post("/publish", body).await.problem().await;
        assert_eq!(problem["code"], "malformed", "{body}: {problem}");
    }
    for (path, code) in [
        ("/inbox/a*", "malformed"),
        ("/inbox/%FF", "not_utf8"),
        ("/inbox/ada?limit=0", "malformed"),
        ("/inbox/ada?after=x", "malformed"),
        ("/inbox/ada?after=000001-00000000-0000000001", "unknown_id"),
    ] {
        assert_eq!(door.get(path).await.problem().await["code"], code, "{path}");
    }
}

#[tokio::test]
async fn the_same_stream_is_asked_for_in_json() {
    let door = TestDoor::open();
    door.post("/inbox/ada", "one").await;
    let body =
        r#"{"user": "ada", "inbox": true, "device": "desk", "ack": "auto", "channels": ["a"], "since": "last:1"}"#;
    door.post("/channels/a", "old").await;
    door.post("/channels/a", "new").await;
    let mut stream = door.post("/subscribe", body).await;
    let text = stream.read_until("data: new\n\n").await;
    assert!(text.contains("data: one\n\n") && !text.contains("data: old"), "`since` isn't the inbox's: {text}");
    let problem = door.post("/subscribe", r#"{"inbox": true}"#).await.problem().await;
    assert_eq!(problem["code"], "malformed");
}

#[tokio::test]
async fn publishing_to_an_inbox_takes_the_options_of_other_events() {
    let door = TestDoor::open();
    let post = async |body| door.request("POST", "/inbox/ada", &[("idempotency-key", "k")], body).await;
    let first = post("x").await.json().await;
    let again = post("x").await.json().await;
    assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
    assert_eq!(post("y").await.status.as_u16(), 409);
    door.request("POST", "/inbox/ada?event=e&ttl=5m&retry=1000", &[("content-type", "application/json")], "{}").await;
    assert_eq!(door.post("/inbox/ada?key=a", "x").await.status.as_u16(), 400, "its key is its id");
    let page = door.get("/inbox/ada").await.json().await;
    assert_eq!((&page["events"][1]["event"], &page["events"][1]["data"]), (&"e".into(), &json!({})));
}
