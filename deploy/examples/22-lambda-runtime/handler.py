def handler(event, context):
    if event["width"] < event["to"]:
        raise ValueError("too small: " + event["key"])
    return {"key": event["key"].replace(".", "-%d." % event["to"]), "scale": event["to"] / event["width"], "request": context.aws_request_id}
