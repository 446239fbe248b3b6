"""Every address of the control plane, one line each: method, path, permission, verb, what it takes, whose it is."""

from typing import Any

from sartor.interfaces.api import (
    books,
    forms,
    jobs,
    jobs_forms,
    labelling,
    labels_forms,
    recall_forms,
    verbs,
    watching_forms,
)
from sartor.interfaces.api.endpoint import PREFIX, Endpoint


def _get(path: str, permission: Any, verb: Any, query: Any = None, **how: Any) -> Endpoint:
    return Endpoint("GET", PREFIX + path, permission, verb, query=query, **how)


def _post(path: str, permission: Any, verb: Any, body: Any = None, **how: Any) -> Endpoint:
    return Endpoint("POST", PREFIX + path, permission, verb, body=body, **how)


def _delete(path: str, permission: Any, verb: Any, query: Any = None) -> Endpoint:
    return Endpoint("DELETE", PREFIX + path, permission, verb, query=query)


ENDPOINTS: tuple[Endpoint, ...] = (
    _get("/health", "anyone", verbs.health, reach="own"),
    _get("/openapi.json", "anyone", verbs.openapi, reach="own"),
    Endpoint("GET", "/metrics", "view", verbs.metrics),
    # Routes and upstreams
    _get("/routes", "view", "routes:list_routes"),
    _post("/routes", "operate", "routes:declare_route", forms.NewRoute),
    _get("/routes/{name}", "view", "routes:show_route"),
    _delete("/routes/{name}", "operate", "routes:remove_route", forms.Why),
    _post("/routes/{name}/shadow", "approve", "stages:stage_shadow", forms.Shadow),
    _get("/routes/{name}/canary", "view", "canary:look"),
    _post("/routes/{name}/canary", "approve", "stages:stage_canary", forms.Canary),
    _post("/routes/{name}/live", "approve", "stages:stage_live", forms.Live),
    _post("/routes/{name}/stop", "approve", "stages:stop_stage", forms.Why),
    _post("/routes/{name}/rollback", "approve", "stages:rollback_route", forms.Why),
    _post("/routes/{name}/certify", "approve", "certify:certify_route", forms.Certify),
    _get("/upstreams", "view", "upstreams:list_upstreams"),
    _post("/upstreams", "operate", verbs.declare_upstream, forms.NewUpstream),
    _get("/upstreams/{name}", "view", "upstreams:shown_upstream"),
    _delete("/upstreams/{name}", "operate", "routes:remove_upstream", forms.Why),
    # Stock
    _get("/tasks", "view", "stock:tasks"),
    _post("/tasks/{task}/rollback", "approve", "stock:rollback", forms.Why),
    _post("/tasks/{task}/retire", "approve", "stock:retire", forms.Why),
    _get("/variants", "view", "stock:search", forms.Search),
    _get("/variants/{handle}", "view", "stock:show"),
    _get("/variants/{handle}/lineage", "view", "stock:lineage", forms.Direction),
    _get("/variants/{handle}/bom", "view", "stock:bom"),
    _get("/variants/{handle}/verify", "operate", "stock:verify"),
    _get("/variants/{handle}/parity", "view", "parity:parity_of"),
    _get("/diff", "view", "stock:diff", forms.Pair),
    _get("/decisions", "view", verbs.list_decisions, forms.OfTask),
    _get("/decisions/{digest}", "view", verbs.show_decision),
    _get("/decisions/{digest}/replay", "operate", "decide:replay"),
    # Traffic and economics
    _get("/exchanges", "view", books.list_exchanges, forms.Exchanges, reach="own"),
    _get("/exchanges/{exchange}", "view", books.show_exchange, reach="own"),
    _get("/exchanges/{exchange}/explain", "view", books.explain_exchange),
    _post("/erasures", "administer", books.erase, forms.Erasure, reach="own"),
    _get("/traffic", "view", "traffic:status", reach="all"),
    _get("/economics/prices", "view", "economics:prices", forms.Model),
    _get("/economics/ledger", "view", books.ledger, forms.Ledger, reach="own"),
    _post("/economics/bookings", "operate", books.book, forms.NewBooking, reach="all"),
    _post("/economics/forecasts/{name}", "operate", books.forecast, forms.Outlook, reach="all"),
    _get("/economics/actual/{name}", "view", "forecast:actual", forms.Option, reach="all"),
    # Labelling
    _get("/tasks/{task}/labels", "view", labelling.labels_status, reach="own"),
    _get("/tasks/{task}/labels/agreement", "view", labelling.labels_agreement, reach="own"),
    _post("/tasks/{task}/labels", "operate", labelling.label_row, labels_forms.Said, reach="own"),
    _post("/tasks/{task}/labels/next", "operate", labelling.next_rows, labels_forms.NextRows, reach="own"),
    _post("/tasks/{task}/labels/undo", "operate", labelling.take_back_label, labels_forms.TakenBack, reach="own"),
    _post("/tasks/{task}/labels/leave", "operate", labelling.end_sitting, labels_forms.Leaving, reach="own"),
    # The wheel
    _get("/tasks/{task}/drift", "view", "drift:board", reach="all"),
    _post("/tasks/{task}/prior", "approve", "prior:state_prior", forms.Why, reach="all"),
    _delete("/tasks/{task}/prior", "approve", "prior:drop_prior", forms.Why),
    _get("/tasks/{task}/judges", "view", "judges:status", reach="all"),
    _post(
        "/tasks/{task}/judges/{name}/measure",
        "operate",
        watching_forms.measure_judge,
        watching_forms.Measuring,
        reach="all",
    ),
    _post("/tasks/{task}/judges/{name}/run", "operate", watching_forms.run_judge, watching_forms.Asking, reach="all"),
    _get("/wheel", "view", "wheel:look", forms.OneTask),
    _post("/wheel/turn", "operate", "wheel:turn", forms.OneTask),
    _post("/tasks/{task}/harvest", "operate", "harvest:harvest_task", reach="all"),
    _get("/tasks/{task}/tests", "view", "standing:versions_of"),
    _get("/approvals", "view", "approvals:list_waiting"),
    _post("/approvals/{task}/approve", "approve", "approvals:approve", forms.Word),
    _post("/approvals/{task}/reject", "approve", "approvals:reject", forms.Word),
    _get("/notices", "view", "notify:list_notices", forms.OfTask),
    # Recall
    _get("/recalls", "view", "recall_kept:list_recalls"),
    _post("/recalls", "administer", "recall:recall", recall_forms.NewRecall),
    _post("/recall-plans", "operate", "recall_plan:plan", recall_forms.Asked),
    _get("/recalls/{ident}", "view", "recall_kept:show"),
    _post("/recalls/{ident}/proof", "operate", "recall_proof:prove"),
    _post("/recalls/{ident}/lift", "administer", "recall:lift", forms.Why),
    _get("/campaigns", "view", "campaign:list_campaigns"),
    _post("/campaigns", "approve", "campaign:start_asked", recall_forms.NewCampaign),
    _post("/campaign-plans", "operate", "campaign_plan:plan_asked", recall_forms.NewCampaign),
    _get("/campaigns/{ident}", "view", "campaign:board"),
    _post("/campaigns/{ident}/pause", "approve", "campaign:pause_campaign"),
    _post("/campaigns/{ident}/resume", "approve", "campaign:resume_campaign"),
    _post("/campaigns/{ident}/cancel", "approve", "campaign:cancel_campaign"),
    # Jobs
    _get("/jobs", "view", jobs.list_jobs, jobs_forms.JobList, reach="own"),
    _post("/jobs", "operate", jobs.submit_job, jobs_forms.NewJob),
    _get("/jobs/{id}", "view", "jobs:show_job", reach="own"),
    _get("/jobs/{id}/events", "view", jobs.job_events, jobs_forms.Events, reach="own"),
    _post("/jobs/{id}/cancel", "operate", "jobs:cancel_job", reach="own"),
    _post("/jobs/{id}/pause", "operate", "jobs:pause_job", reach="own"),
    _post("/jobs/{id}/resume", "operate", "jobs:resume_job", reach="own"),
    _post("/jobs/{id}/retry", "operate", "jobs:retry_job", reach="own"),
    _get("/workers", "view", "jobs:list_workers"),
    # Access
    _get("/keys", "administer", "access:list_keys", forms.Keys, reach="own"),
    _post("/keys", "administer", "access:create_key", forms.NewKey, reach="own"),
    _get("/keys/{id}", "administer", "access:show_key", reach="own"),
    _post("/keys/{id}/revoke", "administer", "access:revoke_key", reach="own"),
    _post("/keys/{id}/rotate", "administer", "access:rotate_key", forms.Rotation, reach="own"),
    _get("/tenants", "view", "access:list_tenants", reach="own"),
    _get("/tenants/{name}", "view", "access:show_tenant", reach="own"),
    _post("/tenants/{name}", "administer", "access:set_tenant", forms.TenantLimits, reach="own"),
    _get("/audit", "administer", "access:list_audit", forms.Lines, reach="own"),
    _get("/audit/verify", "administer", "access:verify_audit"),
)
