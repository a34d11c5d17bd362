"""The configuration as files: `posthouse apply` and `posthouse export`.

    event_types:
      - name: order.created
        description: An order was created
    apps:
      - uid: acme
        name: Acme
        grants:
          - uid: orders
            types: [order.*]
            subjects: ["shop:*"]
        endpoints:
          - uid: ledger
            url: https://acme.example/hooks

Each entry has the fields of the API's body. What a file leaves out has its default; a section that a file leaves out
(`event_types`, `apps`, an app's `grants` and `endpoints`) is left alone, also by --prune.

`documents` reads files, `kinds` knows what may be declared and how it compares, `remote` reads the server, `plan` is the pure
difference of the two, and `run` makes it so.
"""
