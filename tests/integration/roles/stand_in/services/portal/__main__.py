from services.answer import serve

serve()
