use std::{collections::HashMap, time::Instant};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::script::{Script, StatusWords, Takes};
use super::webhook::Webhook;

/// All runs, by id.
#[derive(Default)]
pub(super) struct Runs {
    order: Vec<String>,
    by_id: HashMap<String, Run>,
}

struct Run {
    id: String,
    inputs: Map<String, Value>,
    meta: Value,
    webhook: Option<Webhook>,
    task: String,
    feedback: Vec<String>,
    phase: Phase,
    since: Instant,
    polls: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running { approved: bool },
    Paused,
    Done,
}

/// What `/resume` comes to.
pub(super) enum Resumed {
    NoRun,
    NoTask,
    NotPaused,
    Yes,
    Retry,
}

impl Runs {
    pub(super) fn ids(&self) -> Vec<String> {
        self.order.clone()
    }

    pub(super) fn start(&mut self, inputs: Map<String, Value>, body: &Value) -> String {
        let id = Uuid::new_v4().to_string();
        let run = Run {
            id: id.clone(),
            inputs,
            meta: body.get("meta").cloned().unwrap_or(Value::Null),
            webhook: Webhook::of(body),
            task: Uuid::new_v4().to_string(),
            feedback: Vec::new(),
            phase: Phase::Running { approved: false },
            since: Instant::now(),
            polls: 0,
        };
        self.order.push(id.clone());
        self.by_id.insert(id.clone(), run);
        id
    }

    /// The status, and a webhook to call when the run has just paused.
    pub(super) fn status(&mut self, script: &Script, id: &str) -> (Option<Value>, Option<(Webhook, Value)>) {
        let Some(run) = self.by_id.get_mut(id) else { return (None, None) };
        run.polls = run.polls.saturating_add(1);
        let call = run.go_on(script);
        (Some(run.status(script)), call)
    }

    /// Lets time pass for one run, without a status.
    pub(super) fn tick(&mut self, script: &Script, id: &str) -> Option<(Webhook, Value)> {
        self.by_id.get_mut(id)?.go_on(script)
    }

    pub(super) fn resume(&mut self, body: &Value, execution: &str, task: &str) -> Resumed {
        let field = |snake: &str, camel: &str| body.get(snake).or_else(|| body.get(camel)).cloned();
        let Some(run) = self.by_id.get_mut(execution) else { return Resumed::NoRun };
        if run.phase != Phase::Paused {
            return Resumed::NotPaused;
        }
        if run.task != task {
            return Resumed::NoTask;
        }
        // Like the real thing: receivers are forgotten at every pause.
        run.webhook = Webhook::of(body);
        let said = field("human_feedback", "humanFeedback");
        run.feedback.extend(said.and_then(|said| said.as_str().map(str::to_owned)));
        let approved = field("is_approve", "isApprove") == Some(Value::Bool(true));
        run.phase = Phase::Running { approved };
        run.since = Instant::now();
        run.polls = 0;
        if approved { Resumed::Yes } else { Resumed::Retry }
    }
}

impl Run {
    fn go_on(&mut self, script: &Script) -> Option<(Webhook, Value)> {
        let Phase::Running { approved } = self.phase else { return None };
        let over = match script.takes {
            Takes::Polls(polls) => self.polls > polls,
            Takes::Time(time) => self.since.elapsed() >= time,
        };
        if !over {
            return None;
        }
        let Some(output) = script.human_input.as_ref().filter(|_| !approved) else {
            self.phase = Phase::Done;
            return None;
        };
        self.phase = Phase::Paused;
        let body = json!({
            "kickoff_id": self.id,
            "execution_id": self.id,
            "task_id": self.task,
            "task_output": self.fill(output),
            "meta": self.meta,
        });
        self.webhook.clone().map(|webhook| (webhook, body))
    }

    fn fill(&self, template: &str) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut filled = template.replace("{kickoff_id}", &self.id);
        for (name, value) in &self.inputs {
            filled = filled.replace(&format!("{{{name}}}"), &text(value));
        }
        filled
    }

    fn status(&self, script: &Script) -> Value {
        match script.words {
            StatusWords::Live => self.live(script),
            StatusWords::Documented => self.documented(script),
        }
    }

    fn live(&self, script: &Script) -> Value {
        let (state, status) = match self.phase {
            Phase::Running { .. } => ("RUNNING", json!("Task is Running")),
            Phase::Paused => ("PAUSED", json!("Pending Human Input")),
            Phase::Done => ("SUCCESS", Value::Null),
        };
        let done = self.phase == Phase::Done;
        let result = done.then(|| self.fill(&script.result));
        let result_json = result.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let seconds = self.since.elapsed().as_secs_f64();
        json!({
            "state": state,
            "status": status,
            "result": result,
            "result_json": result_json.filter(Value::is_object),
            "usage_metrics": {"total_tokens": 1110, "prompt_tokens": 970, "completion_tokens": 140,
                              "successful_requests": 3},
            "progress": {"unit": "task", "completed": u8::from(done), "total": 1, "remaining": u8::from(!done),
                         "current": null, "current_agent": null, "duration_seconds": seconds},
            "last_event": {"id": Uuid::new_v4(), "type": "task_started", "execution_id": self.id},
            "events_count": 238,
            "events_by_type": {"llm_stream_chunk": 210, "llm_call_started": 3},
            "triggered_by": {"type": "service_account", "id": "org"},
            "execution_origin": "api",
            "last_step": null,
            "last_executed_task": done.then(|| json!({
                "description": format!("Write a report. Earlier feedback: {:?}", self.feedback),
                "name": "report_task",
                "expected_output": "A report",
                "summary": "Write a report…",
                "agent": "Report Writer",
                "output": self.fill(&script.result),
                "output_json": null,
                "kickoff_id": self.id,
                "meta": self.meta,
            })),
            "source": "memory",
        })
    }

    fn documented(&self, script: &Script) -> Value {
        if self.phase != Phase::Done {
            let progress = json!({"completed_tasks": 0, "total_tasks": 1});
            return json!({"status": "running", "current_task": "report_task", "progress": progress});
        }
        let output = self.fill(&script.result);
        let task = json!({"task_id": "report_task", "output": output, "agent": "Report Writer", "execution_time": 45.2});
        json!({"status": "completed", "result": {"output": output, "tasks": [task]}, "execution_time": 108.50})
    }
}
