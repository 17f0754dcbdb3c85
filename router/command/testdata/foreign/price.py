"""The function price, by what deploy/examples/05-kafka has for Python: price.py FOLDER-OF-THAT BROKERS COMPLETIONS TOPIC...

The first time that an order asks for its part 2, it fails.
"""
import sys

sys.path.insert(0, sys.argv[1])
import count

failed = set()


def price(part):
    if part["n"] == 2 and part["order"] not in failed:
        failed.add(part["order"])
        raise ValueError("größe ✓ \"2\"")
    return {**part, "price": part["n"] ** 2}


count.serve(sys.argv[2], sys.argv[4:], sys.argv[3], price)
