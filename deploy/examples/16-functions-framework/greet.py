import functions_framework


@functions_framework.http
def greet(request):
    guest = request.get_json()
    if not guest["name"]:
        return {"error": "nobody is there"}
    return {"greeting": "Hello " + guest["name"]}
